"""The gradient of the class's score with respect to the pixels."""

from __future__ import annotations

from collections.abc import Sequence

from captum.attr import Saliency

from fido.classifiers.base import Classifier
from fido.explainers.attribution import Channels, Score, check_channels, over_channels, scored
from fido.explainers.base import Progress, collate, half_of_maximum
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


class Gradient:
    """`|d score / d pixel|`, the largest over the colours: where a small change matters.

    It uses no infiller. A gradient has a sign for every colour, and which sign is evidence
    depends on what the pixel would change to; the default therefore drops it. "sum" keeps it:
    then positive means that brightening the pixel helps the class.

    Args:
        classifier: The classifier to explain; gradients are with respect to its pixels in [0, 1].
        score: The score to differentiate; see `fido.explainers.attribution.scored`.
        channels: Reduction over the three colours; see
            `fido.explainers.attribution.over_channels`.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If a choice does not exist.

    Source: Simonyan et al. 2014, section 3; computed by captum.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        score: Score = "logit",
        channels: Channels = "max_abs",
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_channels(channels)
        self.classifier = classifier
        self.forward = scored(classifier, score)
        self.channels: Channels = channels
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images side by side."""
        parts = self.batches(len(samples), lambda start, stop: self._explain(samples[start:stop]))
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        gradient = Saliency(self.forward).attribute(
            batch.image.requires_grad_(), abs=False, additional_forward_args=batch.target
        )
        saliency = over_channels(gradient, self.channels).detach().cpu()
        if self.progress is not None:
            highest = saliency.flatten(1).amax(1)
            self.progress(batch.ids, 1, 1, {"saliency": highest})
        return [
            Explanation(
                id=sample.id,
                target=int(target),
                saliency=values,
                threshold=half_of_maximum(values),
                cost={"forward": 1, "backward": 1, "infill": 0},
            )
            for sample, target, values in zip(samples, batch.target, saliency, strict=True)
        ]
