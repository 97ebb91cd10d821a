"""Does the map find the object? Boxes from thresholds, pointing game, mass inside the boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.masks.regions import best_iou, clean, inside, pixel_boxes, relative_boxes, tight_box
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.functional.held_out import ALPHAS, HeldOutAlpha
from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample


def pointing(values: Tensor, truth: Tensor, tolerance: int = 0) -> float:
    """Whether the map's highest pixel lies in a ground-truth box; the mean over tied maxima.

    Args:
        values: (h, w) cleaned map; see `fido.masks.regions.clean`.
        truth: (n, 4) int64 boxes.
        tolerance: Pixels by which the boxes grow on each side.

    Source: Zhang et al. 2018, excitation backpropagation (there with a tolerance of 15 pixels).
    """
    h, w = values.shape
    grow = torch.tensor([-tolerance, -tolerance, tolerance, tolerance])
    hit = inside(truth + grow, h, w)
    return float(hit[values == values.max()].double().mean())


def mass_inside(values: Tensor, truth: Tensor) -> float:
    """Share of the map's positive values inside the union of the boxes.

    A map without positive values spreads its evidence evenly: its share is the boxes' area.
    """
    positive = values.clamp(min=0)
    total = float(positive.sum())
    within = inside(truth, *values.shape)
    return float(positive[within].sum()) / total if total > 0 else float(within.double().mean())


class Localization(ImageMetric):
    """Weakly supervised localisation error under two threshold rules, and two rules without one.

    "wsl_error": 1 unless the tight box of the explanation's region (saliency above its
    threshold) has an intersection over union above 1/2 with any ground-truth box.
    "alpha_error": the same for the tight box of {A >= alpha * max A}, with the alpha that is best
    on held-out images; held-out images have no value. "iou" and "alpha_iou" are the intersections
    over union behind the two, by which images can be ranked. "pointing" and "mass": see the
    functions. Images without boxes have no value.

    Args:
        alphas: Shares of the maximum that are tried.
        holdout: Share of the images on which alpha is chosen; see `HeldOutAlpha`.
        tolerance: Of the pointing game, in pixels.
        seed: Of the held-out split.

    Source: Chang et al. 2019, section 4.5 and Table 1 (wsl_error); Agarwal and Nguyen 2020,
    section 4.3 and Table 2 (alpha_error).
    """

    higher_is_better = False
    subject = Explanations(REFERENCE_ROWS)
    recorded = ("iou", "pointing", "mass", "empty")
    columns = (
        Column("wsl_error", "WSL error (%)", "lower", percent=True, digits=1),
        Column("alpha_error", "WSL error, best alpha (%)", "lower", percent=True, digits=1),
        Column("pointing", "pointing game (%)", "higher", percent=True, digits=1),
        Column("mass", "mass in boxes (%)", "higher", percent=True, digits=1),
        Column("iou", "IoU", "higher"),
        Column("alpha_iou", "IoU, best alpha", "higher"),
        Column("empty", "empty regions (%)", None, percent=True, digits=1),
    )

    set_columns = (Column("alpha", "alpha"), Column("held_out", "images that chose it", digits=0))

    def __init__(
        self,
        alphas: Sequence[float] = ALPHAS,
        holdout: float = 1 / 3,
        tolerance: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.alpha = HeldOutAlpha(tuple(alphas), holdout, seed)
        self.tolerance = tolerance
        self.curve = Curve(
            self.alpha.alphas, "alpha (share of the maximum)", "WSL error, held-out images"
        )

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`; the curve holds the IoU at every alpha."""
        h, w = int(explanation.saliency.shape[-2]), int(explanation.saliency.shape[-1])
        if sample.boxes is None or not len(sample.boxes):
            nothing = dict.fromkeys(self.recorded, math.nan)
            return ImageScore(nothing, torch.full((len(self.alpha.alphas),), math.nan))
        truth = pixel_boxes(sample.boxes, h, w)
        values = clean(explanation.saliency, explanation.threshold)
        region = values > explanation.threshold
        return ImageScore(
            {
                "iou": float(best_iou(tight_box(region).unsqueeze(0), truth)[0]),
                "pointing": pointing(values, truth, self.tolerance),
                "mass": mass_inside(values, truth),
                "empty": float(not bool(region.any())),
            },
            best_iou(relative_boxes(values, self.alpha.alphas), truth),
        )

    def finalize(self, scores: ScoreSet) -> dict[str, Array]:
        """See `ImageMetric.finalize`; alpha is chosen here."""
        iou = scores.value("iou")
        return {
            "wsl_error": np.where(np.isnan(iou), math.nan, iou <= 0.5),
            "alpha_error": self.alpha.at_best(scores.ids, _errors(scores)),
            "alpha_iou": self.alpha.at_best(scores.ids, _errors(scores), scores.curve),
            **{name: scores.value(name) for name in ("pointing", "mass", "iou", "empty")},
        }

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """The chosen alpha and the number of images it was chosen on."""
        return self.alpha.set_values(scores.ids, _errors(scores))

    def summary_curve(self, scores: ScoreSet) -> Array | None:
        """(alphas,) error at every alpha over the held-out images with boxes."""
        return self.alpha.curve(scores.ids, _errors(scores))


def _errors(scores: ScoreSet) -> Array:
    """(n, alphas) 0 or 1 for every image with boxes, NaN for the others."""
    if scores.curve is None:
        return np.empty((len(scores), 0))
    return np.where(np.isnan(scores.curve), math.nan, scores.curve <= 0.5)
