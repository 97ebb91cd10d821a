"""How much of the explanation lies off the object."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.masks.regions import clean, inside, pixel_boxes
from fido.metrics.base import Column, ImageMetric
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample


def outside_share(region: Tensor, truth: Tensor) -> float:
    """|region minus the union of the boxes| / |region|.

    An empty region names no part of the image and counts as the whole image.

    Args:
        region: (h, w) bool.
        truth: (n, 4) int64 boxes.
    """
    if not bool(region.any()):
        region = torch.ones_like(region)
    within = inside(truth, *region.shape)
    return float((region & ~within).sum()) / float(region.sum())


class OutsideBox(ImageMetric):
    """Share of the explanation's region outside the union of the ground-truth boxes.

    Images without boxes have no value. A low share alone is not a good explanation: a single
    pixel in a box scores 0, which "area", the region's share of the image, shows.

    Source: Chang et al. 2019, Fig. 8.
    """

    higher_is_better = False
    subject = Explanations(REFERENCE_ROWS)
    recorded = ("outside", "area", "empty")
    columns = (
        Column("outside", "region outside the boxes (%)", "lower", percent=True, digits=1),
        Column("area", "region (% of the image)", None, percent=True, digits=1),
        Column("empty", "empty regions (%)", None, percent=True, digits=1),
    )

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`."""
        if sample.boxes is None or not len(sample.boxes):
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        values = clean(explanation.saliency, explanation.threshold)
        region = values > explanation.threshold
        truth = pixel_boxes(sample.boxes, *region.shape)
        return ImageScore(
            {
                "outside": outside_share(region, truth),
                "area": float(region.double().mean()),
                "empty": float(not bool(region.any())),
            }
        )
