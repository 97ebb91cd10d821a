"""SmoothGrad: the gradient, averaged over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import Saliency
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.attribution import Channels, Score, check_channels, over_channels, scored
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least
from fido.runtime.noise import ImageNoise


class SmoothGrad:
    """`|1 / N sum_i d score / d pixel at image + noise i|`, the largest over the colours.

    It uses no infiller. Gradients come from captum; the noise does not, because captum's
    `NoiseTunnel` draws from the global generator and a map would depend on what ran before.

    Args:
        classifier: The classifier to explain; gradients are with respect to its pixels in [0, 1].
        samples: Number N of noisy copies.
        noise: Standard deviation as a share of the image's range, maximum minus minimum. Noisy
            pixels may leave [0, 1], as in the paper.
        score: The score to differentiate; see `fido.explainers.attribution.scored`.
        channels: Reduction over the three colours; see
            `fido.explainers.attribution.over_channels`.
        seed: Seed of the noise.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Noisy copies per pass; see `Batches`.

    Raises:
        ValueError: If a number is out of range or a choice does not exist.

    Source: Smilkov et al. 2017, section 3.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        samples: int = 50,
        noise: float = 0.15,
        score: Score = "logit",
        channels: Channels = "max_abs",
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_channels(channels)
        check_at_least(1, "explainer", samples=samples)
        check_at_least(0, "explainer", noise=noise)
        self.classifier = classifier
        self.samples = samples
        self.noise = noise
        self.forward = scored(classifier, score)
        self.channels: Channels = channels
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its noisy copies in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    def _explain(self, batch: SampleBatch) -> Explanation:
        image = batch.image
        draws = ImageNoise(self.seed, batch.ids, "smoothgrad", image.device)
        noise = draws.normal(self.samples, *image.shape[1:])
        noise *= self.noise * (image.max() - image.min())
        gradients = Saliency(self.forward)

        def add(start: int, stop: int) -> tuple[int, Tensor]:
            rows = (image + noise[start:stop]).requires_grad_()
            target = batch.target.expand(stop - start)
            gradient = gradients.attribute(rows, abs=False, additional_forward_args=target)
            return stop, gradient.detach().sum(0)

        # In float64, so that pieces of any size add up to the same.
        total = torch.zeros(image.shape[1:], dtype=torch.float64)
        for done, piece in self.batches(self.samples, add):
            total += piece.cpu()
            if self.progress is not None:
                highest = (total / done).abs().max().float().view(1)
                self.progress(batch.ids, done, self.samples, {"saliency": highest})
        saliency = over_channels((total / self.samples).float()[None], self.channels)[0]
        return Explanation(
            id=batch.ids[0],
            target=int(batch.target),
            saliency=saliency,
            threshold=half_of_maximum(saliency),
            cost={"forward": self.samples, "backward": self.samples, "infill": 0},
        )
