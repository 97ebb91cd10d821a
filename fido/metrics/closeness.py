"""How close does a counterfactual stay to the photo?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from fido.classifiers.base import Classifier
from fido.classifiers.layers import DeepFeatures
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.counterfactual_pair import counterfactual_pair
from fido.metrics.functional.feature_distance import feature_distance
from fido.metrics.functional.image_distance import changed_area, lp_distance
from fido.metrics.functional.image_similarity import ssim_and_ms_ssim
from fido.metrics.functional.perceptual import perceptual_distance
from fido.metrics.functional.pooled_features import resized
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample


class Closeness(ImageMetric):
    """Distances between the photo and its counterfactual, both rounded to 8 bits.

    "l1", "l15", "l2": see `lp_distance` for p = 1, 1.5, 2; "linf": the largest change. "ssim" and
    "ms_ssim" (from 176 pixels a side). "feature": `feature_distance` in the layers of a classifier
    that is not the explained one. "lpips" where its weights are at hand. "area": see
    `changed_area`. Explanations without a counterfactual have no numbers.

    A small distance is no merit of its own: the control without guidance has one, too, and no
    change at all has 0. Read the numbers beside `validity` and as differences from the control.

    Args:
        classifier: Whose features are compared; images are resized for it.
        layers: Its layers, by name or index; see `DeepFeatures`.
        levels: Grey levels of 255 from which a pixel counts as changed.
        lpips: Backbone of LPIPS, "alex", "vgg" or "squeeze": its torchvision weights must be in
            TORCH_HOME or within reach; None leaves it out.

    Raises:
        ValueError: If there is no such layer, or `levels` is not above 0.
        FileNotFoundError: If LPIPS is asked for and its weights are not there.

    Source: Vaeth et al. 2023, section 3 (D_1, D_1.5, D_2, LPIPS; there of whole batches).
    """

    higher_is_better = False
    subject = Explanations()

    def __init__(
        self,
        classifier: Classifier,
        layers: Sequence[str | int],
        levels: float = 16,
        lpips: Literal["alex", "vgg", "squeeze"] | None = None,
    ) -> None:
        super().__init__()
        if levels <= 0:
            raise ValueError(f"closeness.levels must be above 0, got {levels}")
        self.classifier = classifier
        self.deep_features = DeepFeatures(classifier, layers)
        self.levels = levels
        self.lpips = None if lpips is None else perceptual_distance(lpips, "closeness.lpips")
        columns = [
            Column("l1", "mean change (L1)", "lower", digits=4),
            Column("l15", "L1.5 change", "lower", digits=4),
            Column("l2", "RMS change (L2)", "lower", digits=4),
            Column("linf", "largest change", "lower", digits=3),
            Column("ssim", "SSIM", "higher"),
            Column("ms_ssim", "MS-SSIM", "higher"),
            Column("feature", "feature distance", "lower", digits=4),
            Column("area", f"pixels changed by {levels:g} levels (%)", None, True, 1),
        ]
        if lpips is not None:
            columns.insert(7, Column("lpips", f"LPIPS ({lpips})", "lower"))
        self.columns = tuple(columns)
        self.recorded = tuple(column.name for column in columns)

    @torch.no_grad()
    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`."""
        pair = counterfactual_pair(sample, explanation)
        if pair is None:
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        photo, image = pair[:1], pair[1:]
        similar, multi_scale = ssim_and_ms_ssim(photo, image)
        features = self.deep_features(resized(pair, self.classifier))
        measured = {
            "l1": lp_distance(photo, image, 1),
            "l15": lp_distance(photo, image, 1.5),
            "l2": lp_distance(photo, image, 2),
            "linf": lp_distance(photo, image, math.inf),
            "ssim": similar,
            "ms_ssim": multi_scale,
            "feature": feature_distance([f[:1] for f in features], [f[1:] for f in features]),
            "area": changed_area(photo, image, self.levels),
        }
        values = {name: float(value) for name, value in measured.items()}
        if self.lpips is not None:
            values["lpips"] = float(self.lpips(image, photo))
        return ImageScore(values)
