"""Integrated gradients along the line from an infilled image to the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.attribution import Channels, Score, check_channels, over_channels, scored
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.infillers.base import Infiller
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least
from fido.runtime.noise import ImageNoise


class IntegratedGradients:
    """`(x - x') * integral over a of d score / d x at x' + a (x - x')`, summed over the colours.

    The baseline x' is the infill of a wholly dropped image: gray for `mean`, the blurred image for
    `blur`, the same image for every input for a generative infiller. The map is signed, and its
    sum is `score(x) - score(x')` up to the error of the numerical integral.

    Args:
        classifier: The classifier to explain.
        infiller: Gives the baseline.
        steps: Points of the Gauss-Legendre integration.
        score: The score to differentiate; see `fido.explainers.attribution.scored`.
        channels: Reduction over the three colours; only "sum" adds up to the score.
        seed: Seed of the infiller's random numbers.
        progress: Called after every image; see `Progress`.
        rows_per_pass: Points per pass; see `Batches`.

    Raises:
        ValueError: If a number is out of range or a choice does not exist.

    Source: Sundararajan et al. 2017, eq. 1; computed by captum.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        steps: int = 50,
        score: Score = "log_odds",
        channels: Channels = "sum",
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_channels(channels)
        check_at_least(1, "explainer", steps=steps)
        self.classifier = classifier
        self.infiller = infiller
        self.steps = steps
        self.forward = scored(classifier, score)
        self.channels: Channels = channels
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its points in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    def _explain(self, batch: SampleBatch) -> Explanation:
        baseline = self._baseline(batch)
        integrated = CaptumIntegratedGradients(self.forward)

        def integrate(start: int, stop: int) -> Tensor:
            attribution: Tensor = integrated.attribute(
                batch.image,
                baseline,
                additional_forward_args=batch.target,
                n_steps=self.steps,
                internal_batch_size=stop - start,
            )
            return attribution

        # Captum cuts the points into pieces itself; `batches` only finds a size that fits.
        attribution = next(iter(self.batches(self.batches.size, integrate)))
        saliency = over_channels(attribution.detach(), self.channels)[0].float().cpu()
        if self.progress is not None:
            self.progress(batch.ids, 1, 1, {"sum": saliency.sum().view(1)})
        return Explanation(
            id=batch.ids[0],
            target=int(batch.target),
            saliency=saliency,
            threshold=half_of_maximum(saliency),
            cost={"forward": self.steps, "backward": self.steps, "infill": 1},
        )

    def _baseline(self, batch: SampleBatch) -> Tensor:
        noise = None
        if self.infiller.needs_noise:
            noise = ImageNoise(self.seed, batch.ids, "infill", batch.image.device)
        return self.infiller.infill(batch.image, torch.zeros_like(batch.image[:, :1]), noise)
