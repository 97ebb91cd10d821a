"""Is a tight crop around the explanation enough to recognise the class?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.masks.regions import area_share, clean, relative_boxes, tight_box
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.functional.held_out import ALPHAS, HeldOutAlpha
from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


def crop_resize(image: Tensor, box: Tensor, interpolation: str = "bicubic") -> Tensor:
    """The part of an image in a box, stretched to the image's size and clipped to [0, 1].

    Args:
        image: (3, h, w) in [0, 1].
        box: (4,) int64.
        interpolation: "bicubic" or "bilinear".
    """
    h, w = int(image.shape[-2]), int(image.shape[-1])
    left, top, right, bottom = box.tolist()
    crop = image[:, top:bottom, left:right]
    if crop.shape == image.shape:
        return image
    crop = F.interpolate(crop.unsqueeze(0), (h, w), mode=interpolation, align_corners=False)
    return crop[0].clamp(0, 1)


def saliency_metric(area: Tensor, log_prob: Tensor, floor: float = 0.05) -> Tensor:
    """`log max(area, floor) - log p`, in nats; lower is better.

    Args:
        area: (n,) the boxes' share of the image.
        log_prob: (n,) log probability of the class for the crop, stretched to the image's size.
        floor: Areas below it earn nothing more.

    Source: Dabkowski and Gal 2017, section 3.
    """
    return area.clamp(min=floor).log() - log_prob.to(area)


class SaliencyMetric(ImageMetric):
    """`log max(area, 0.05) - log p(class | crop)` of the explanation's box, in nats.

    "sm" takes the tight box of the explanation's region, "sm_alpha" that of {A >= alpha * max A}
    with the alpha that is best on held-out images, which have no value themselves. An empty
    region has the whole image as its box.

    Args:
        classifier: Looks at the crops.
        alphas: Shares of the maximum that are tried; without any, "sm_alpha" stays empty and an
            image costs one forward pass instead of up to one an alpha.
        holdout: Share of the images on which alpha is chosen; see `Localization`.
        target: "label" takes the ground-truth class, and images without one have no value;
            "explained" takes the class that was explained.
        floor: See `saliency_metric`.
        interpolation: "bicubic" or "bilinear", for stretching the crop.
        rows_per_pass: Crops that go through the classifier at once; see `Batches`.
        seed: Of the held-out split.

    Raises:
        ValueError: If `target` is not one of these.

    Source: Dabkowski and Gal 2017; Chang et al. 2019, Table 1; Agarwal and Nguyen 2020, Table 4.
    """

    higher_is_better = False
    subject = Explanations(REFERENCE_ROWS)
    recorded = ("sm", "probability", "area")
    columns = (
        Column("sm", "SM (nats)", "lower"),
        Column("sm_alpha", "SM, best alpha (nats)", "lower"),
        Column("probability", "p(class) of the crop", "higher"),
        Column("area", "box (% of the image)", None, percent=True, digits=1),
    )

    set_columns = (Column("alpha", "alpha"), Column("held_out", "images that chose it", digits=0))

    def __init__(
        self,
        classifier: Classifier,
        alphas: Sequence[float] = ALPHAS,
        holdout: float = 1 / 3,
        target: Literal["label", "explained"] = "label",
        floor: float = 0.05,
        interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if target not in ("label", "explained"):
            raise ValueError(f"saliency_metric.target must be label or explained, got {target!r}")
        self.classifier = classifier
        self.alpha = HeldOutAlpha(tuple(alphas), holdout, seed)
        self.target = target
        self.floor = floor
        self.interpolation = interpolation
        self.batches = Batches(rows_per_pass, classifier.device)
        self.curve = Curve(
            self.alpha.alphas, "alpha (share of the maximum)", "SM (nats), held-out images"
        )

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`; the curve holds the saliency metric at every alpha."""
        target = sample.label if self.target == "label" else explanation.target
        if target is None:
            nothing = dict.fromkeys(self.recorded, math.nan)
            return ImageScore(nothing, torch.full((len(self.alpha.alphas),), math.nan))
        values = clean(explanation.saliency, explanation.threshold)
        own = tight_box(values > explanation.threshold).unsqueeze(0)
        boxes = (
            torch.cat([own, relative_boxes(values, self.alpha.alphas)])
            if self.alpha.alphas
            else own
        )
        # Many thresholds give the same box: each crop is looked at once.
        different, which = torch.unique(boxes, dim=0, return_inverse=True)
        log_prob = self._log_prob(sample.image, different, target)[which]
        area = area_share(boxes, *values.shape)
        scores = saliency_metric(area, log_prob, self.floor)
        return ImageScore(
            {
                "sm": float(scores[0]),
                "probability": float(log_prob[0].exp()),
                "area": float(area[0]),
            },
            scores[1:],
        )

    @torch.no_grad()
    def _log_prob(self, image: Tensor, boxes: Tensor, target: int) -> Tensor:
        """(n,) float64 log probability of the class for the crop of each box."""

        def look(start: int, stop: int) -> Tensor:
            crops = [crop_resize(image, box, self.interpolation) for box in boxes[start:stop]]
            logits = self.classifier(torch.stack(crops).to(self.classifier.device))
            chosen = torch.full((len(crops),), target, device=logits.device)
            return self.classifier.output.log_probability(logits, chosen).cpu().double()

        return torch.cat(list(self.batches(len(boxes), look)))

    def finalize(self, scores: ScoreSet) -> dict[str, Array]:
        """See `ImageMetric.finalize`; alpha is chosen here."""
        return {
            "sm": scores.value("sm"),
            "sm_alpha": self.alpha.at_best(scores.ids, _curves(scores)),
            "probability": scores.value("probability"),
            "area": scores.value("area"),
        }

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """The chosen alpha and the number of images it was chosen on."""
        return self.alpha.set_values(scores.ids, _curves(scores))

    def summary_curve(self, scores: ScoreSet) -> Array | None:
        """(alphas,) mean saliency metric at every alpha over the held-out images with a class."""
        return self.alpha.curve(scores.ids, _curves(scores))


def _curves(scores: ScoreSet) -> Array:
    """(n, alphas) saliency metrics; NaN for images without a class, (n, 0) without alphas."""
    if scores.curve is None:
        return np.empty((len(scores), 0))
    return np.where(np.isnan(scores.value("sm"))[:, None], math.nan, scores.curve)
