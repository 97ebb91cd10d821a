"""Does the classifier take the counterfactual for its target?"""

from __future__ import annotations

import math

import torch

from fido.classifiers.base import Classifier
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.counterfactual_pair import counterfactual_pair
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample

TOP = 5


class Validity(ImageMetric):
    """What the explained classifier says of the counterfactual, and of the photo before it.

    "ta" (target accuracy): the target is the most probable class. "top5": it is among the first
    five; only with more than five classes. "oa" (original accuracy): the photo's most probable
    class still is. "flip_rate" is its complement: the class is another one, whichever. "p_target"
    and "p_original": probabilities of the two classes; "..._photo": those of the photo. An
    explanation without a counterfactual has no numbers.

    Args:
        classifier: The explained one.

    Source: Vaeth et al. 2023, section 3 (TA, OA); Jeanneret et al. 2022 (flip rate).
    """

    higher_is_better = True
    subject = Explanations()
    columns = (
        Column("ta", "TA (%)", "higher", percent=True, digits=1),
        Column("top5", "target in top 5 (%)", "higher", percent=True, digits=1),
        Column("oa", "OA (%)", "lower", percent=True, digits=1),
        Column("flip_rate", "flip rate (%)", None, percent=True, digits=1),
        Column("p_target", "p(target)", "higher"),
        Column("p_original", "p(original class)", "lower"),
        Column("p_target_photo", "p(target) of the photo", None),
        Column("p_original_photo", "p(original class) of the photo", None),
    )
    recorded = tuple(column.name for column in columns)

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`."""
        pair = counterfactual_pair(sample, explanation)
        if pair is None:
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        # One at a time, as a run classifies them: kernels of other batches round differently.
        before, after = (
            self.classifier.probabilities(image.unsqueeze(0).to(self.classifier.device))[0].cpu()
            for image in pair
        )
        target, original = explanation.target, int(before.argmax())
        top = math.nan
        if len(after) > TOP:
            top = float(bool((torch.topk(after, TOP).indices == target).any()))
        still = int(after.argmax()) == original
        return ImageScore(
            {
                "ta": float(int(after.argmax()) == target),
                "top5": top,
                "oa": float(still),
                "flip_rate": float(not still),
                "p_target": float(after[target]),
                "p_original": float(after[original]),
                "p_target_photo": float(before[target]),
                "p_original_photo": float(before[original]),
            }
        )
