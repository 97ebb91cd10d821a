"""Is the change that carries the class small, and does it come first?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.functional.counterfactual_pair import counterfactual_pair
from fido.metrics.functional.ranking import area_under, keep_least, pixel_ranks, step_counts
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


class CounterfactualTransition(ImageMetric):
    """COUT: pixels of the counterfactual are put onto the photo, most changed ones first.

    "cout" is the area under p(target) minus that under p(original class), in [-1, 1]: high where
    few pixels suffice to change the class. Without any change it is p(target) - p(original) of the
    photo, near -1. "gain" is "cout" minus that: 0 without a change. Areas are trapezoids over the
    share of pixels, the last step included. Equal changes come in a random order fixed by the seed.
    The curve is p(target). Explanations without a counterfactual have no numbers.

    Args:
        classifier: The explained one.
        steps: Steps in which pixels come.
        rows_per_pass: Images a pass; see `Batches`.
        seed: Of the order of equal changes.

    Raises:
        ValueError: If `steps` is below 1.

    Source: Khorram and Fuxin 2022, section 4.1; Jeanneret et al. 2023, section 4.2.
    """

    higher_is_better = True
    subject = Explanations()
    recorded = ("cout", "gain", "auc_target", "auc_original")
    columns = (
        Column("cout", "COUT", "higher"),
        Column("gain", "COUT above no change", "higher"),
        Column("auc_target", "area under p(target)", "higher"),
        Column("auc_original", "area under p(original)", "lower"),
    )

    def __init__(
        self,
        classifier: Classifier,
        steps: int = 50,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"cout.steps must be 1 or more, got {steps}")
        self.classifier = classifier
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed
        pixels = classifier.size[0] * classifier.size[1]
        self.counts = step_counts(pixels, max(1, -(-pixels // steps)))
        shares = [count / self.counts[-1] for count in self.counts]
        self.curve = Curve(shares, "share of pixels of the counterfactual", "p(target)")

    @torch.no_grad()
    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`.

        Raises:
            ValueError: If the image's size is not the classifier's.
        """
        pair = counterfactual_pair(sample, explanation)
        if pair is None:
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        if pair[0, 0].numel() != self.counts[-1]:
            raise ValueError(
                f"{sample.id}: an image of {tuple(pair.shape[-2:])} pixels, but the classifier "
                f"takes {self.classifier.size}"
            )
        photo, image = pair.to(self.classifier.device)
        change = (photo - image).abs().sum(0, keepdim=True).cpu()
        keep = keep_least(pixel_ranks(change, sample.id, self.seed), self.counts)

        def answers(start: int, stop: int) -> Tensor:
            rows = torch.where(keep[start:stop].to(photo.device), photo, image)
            return self.classifier.probabilities(rows).cpu()

        probability = torch.cat(list(self.batches(len(self.counts), answers))).double()
        original = int(probability[0].argmax())
        curves = probability[:, explanation.target], probability[:, original]
        to_target, to_original = (area_under(curve, self.counts) for curve in curves)
        nothing = float(curves[0][0] - curves[1][0])
        cout = to_target - to_original
        return ImageScore(
            {
                "cout": cout,
                "gain": cout - nothing,
                "auc_target": to_target,
                "auc_original": to_original,
            },
            curves[0],
        )
