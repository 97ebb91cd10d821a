"""LIME: a linear model of the class probability, superpixels as its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import PerturbedImage
from fido.masks.superpixels import superpixels as cut
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_above, check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class Lime:
    """Regress `p_c` linearly on which superpixels are kept, over random subsets of them.

    A superpixel's value is its coefficient: what its presence adds to the probability. The map is
    signed; its threshold is half of its maximum. Gray infill is LIME, a generative infiller LIME-G.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped superpixels.
        samples: Number N of subsets; each keeps every superpixel with probability 1/2, the first
            keeps all.
        superpixels: Number of superpixels to ask SLIC for.
        compactness: Compactness of SLIC's superpixels.
        sigma: Standard deviation of SLIC's smoothing, in pixels.
        regression: "ridge" or "lasso".
        alpha: Weight of the regression's penalty.
        distance: Distance from the image, for the weights: "cosine" between the subsets as 0/1
            vectors, or "image", the root mean square difference of the images in [0, 1] units.
        kernel_width: Width of the kernel: weights are `sqrt(exp(-distance^2 / kernel_width^2))`.
        seed: Seed of the subsets' and the infiller's random numbers.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ribeiro et al. 2016; Agarwal & Nguyen 2020, section 3.4 (LIME-G).
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        samples: int = 1000,
        superpixels: int = 50,
        compactness: float = 30.0,
        sigma: float = 3.0,
        regression: Literal["ridge", "lasso"] = "ridge",
        alpha: float = 1.0,
        distance: Literal["cosine", "image"] = "cosine",
        kernel_width: float = 0.25,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(2, "explainer", samples=samples)
        check_at_least(1, "explainer", superpixels=superpixels)
        check_above(0, "explainer", compactness=compactness, kernel_width=kernel_width)
        check_at_least(0, "explainer", sigma=sigma, alpha=alpha)
        check_choice(("ridge", "lasso"), "explainer", regression=regression)
        check_choice(("cosine", "image"), "explainer", distance=distance)
        self.classifier = classifier
        self.infiller = infiller
        self.samples = samples
        self.slic: dict[str, Any] = {
            "segments": superpixels,
            "compactness": compactness,
            "sigma": sigma,
        }
        self.regression = Ridge(alpha=alpha) if regression == "ridge" else Lasso(alpha=alpha)
        self.distance = distance
        self.kernel_width = kernel_width
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its subsets in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    @torch.no_grad()
    def _explain(self, batch: SampleBatch) -> Explanation:
        # Cut the image into superpixels and draw which of them every row keeps.
        segments = self.segment(batch.image[0])
        present = self.subsets(batch.ids[0], int(segments.max()) + 1)

        # Infill the others and classify every row.
        perturbed = PerturbedImage(self.infiller, batch.image, batch.ids[0], self.seed)
        probability, image_distance = self._probabilities(batch, present, segments, perturbed)

        # Fit the linear model, rows near the image weighted most.
        distance = image_distance if self.distance == "image" else cosine_distance(present)
        weights = kernel_weights(distance, self.kernel_width)
        self.regression.fit(present.numpy(), probability.numpy(), sample_weight=weights.numpy())

        # Every pixel gets the coefficient of its superpixel.
        coefficients = torch.from_numpy(np.asarray(self.regression.coef_)).float()
        saliency = coefficients[segments].unsqueeze(0)
        return Explanation(
            id=batch.ids[0],
            target=int(batch.target),
            saliency=saliency,
            threshold=half_of_maximum(saliency),
            cost={"forward": self.samples, "backward": 0, "infill": perturbed.infills},
        )

    def segment(self, image: Tensor) -> Tensor:
        """(3, h, w) in [0, 1] -> (h, w) superpixel indices from 0, without gaps."""
        return cut(image, **self.slic)

    def subsets(self, image_id: str, count: int) -> Tensor:
        """(N, count) float64 of zeros and ones: which superpixels each row keeps."""
        noise = ImageNoise(self.seed, [image_id], "lime")
        present = (noise.uniform(self.samples, count) < 0.5).double()
        present[0] = 1
        return present

    def _probabilities(
        self, batch: SampleBatch, present: Tensor, segments: Tensor, perturbed: PerturbedImage
    ) -> tuple[Tensor, Tensor]:
        """(N,) float64 probabilities and distances from the image of all perturbed images."""
        device = batch.image.device
        kept, place = present.float().to(device), segments.to(device)

        def classify(start: int, stop: int) -> tuple[Tensor, Tensor]:
            rows = perturbed.rows(kept[start:stop, place].unsqueeze(1), start)
            probability = self.classifier.probabilities(rows)[:, int(batch.target)]
            if self.distance == "cosine":
                return probability.cpu(), torch.zeros(stop - start)
            return probability.cpu(), (rows - batch.image).square().mean((1, 2, 3)).sqrt().cpu()

        results: list[tuple[Tensor, Tensor]] = []
        for probability, distance in self.batches(self.samples, classify):
            results.append((probability, distance))
            if self.progress is not None:
                done = sum(len(p) for p, _ in results)
                newest = {"probability": probability.mean().view(1)}
                self.progress(batch.ids, done, self.samples, newest)
        probabilities, distances = (
            torch.cat(values).double() for values in zip(*results, strict=True)
        )
        return probabilities, distances


def cosine_distance(present: Tensor) -> Tensor:
    """(N, count) zeros and ones -> (N,) cosine distance from a row of ones; 1 for empty rows."""
    # The dot product with ones is the number of ones k, the norms are sqrt(k) and sqrt(count).
    return 1 - present.mean(1).sqrt()


def kernel_weights(distance: Tensor, width: float) -> Tensor:
    """(N,) `sqrt(exp(-distance^2 / width^2))`, the weights of the regression's rows.

    Source: Ribeiro et al. 2016, section 3.4, with the square root of the authors' code.
    """
    return (-distance.square() / width**2).exp().sqrt()
