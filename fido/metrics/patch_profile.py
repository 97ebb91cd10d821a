"""How the class probability moves while a patch is infilled at one place after the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.regions import inside, pixel_boxes
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Infillers
from fido.records import Sample
from fido.runtime.batching import Batches


def patch_keeps(h: int, w: int, patch: int, stride: int) -> Tensor:
    """(rows, columns, h, w) bool: the patch dropped at every grid place that lies in the image."""
    y, x = torch.arange(h), torch.arange(w)
    top = torch.arange(0, h - patch + 1, stride).view(-1, 1)
    left = torch.arange(0, w - patch + 1, stride).view(-1, 1)
    in_row = (y >= top) & (y < top + patch)  # (rows, h)
    in_column = (x >= left) & (x < left + patch)  # (columns, w)
    return ~(in_row[:, None, :, None] & in_column[None, :, None, :])


class PatchProfile(ImageMetric):
    """Change of the label's probability when a patch off the object, or on it, is infilled.

    "outside" is the mean of |p - p(patch infilled)| over patches that touch no ground-truth box,
    "inside" over the other patches; an infiller that only removes changes little outside. The
    curve is the probability along the grid's middle row.

    Images without a label have no value; without boxes, or with boxes that every patch touches,
    they have no "outside".

    Args:
        classifier: Whose probability is measured.
        patch: Side of the patch in pixels.
        stride: Pixels from one patch to the next.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.

    Raises:
        ValueError: If the patch does not fit into the classifier's images.

    Source: Agarwal and Nguyen 2020, Fig. 7.
    """

    higher_is_better = False
    subject = Infillers(shows_input=False)
    recorded = ("outside", "inside")
    columns = (
        Column("outside", "change by patches off the boxes", "lower", digits=4),
        Column("inside", "change by patches on the boxes", None, digits=4),
    )

    def __init__(
        self,
        classifier: Classifier,
        patch: int = 53,
        stride: int = 16,
        rows_per_pass: int | None = None,
    ) -> None:
        super().__init__()
        h, w = classifier.size
        if not 1 <= patch <= min(h, w):
            raise ValueError(f"patch_profile.patch must lie in 1 to {min(h, w)}, got {patch}")
        self.classifier = classifier
        self.keep = patch_keeps(h, w, patch, stride)
        self.batches = Batches(rows_per_pass, classifier.device)
        middle = [left + (patch - 1) / 2 for left in range(0, w - patch + 1, stride)]
        self.curve = Curve(middle, "centre of the patch (pixel)", "p(label)")

    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`."""
        rows, columns, h, w = self.keep.shape
        if sample.label is None:
            return ImageScore(
                dict.fromkeys(self.recorded, math.nan), torch.full((columns,), math.nan)
            )
        edited = EditedImage(self.classifier, infiller, sample, "patch", 0)
        logits = edited.logits(self.keep.reshape(-1, 1, h, w), self.batches)
        rated = self.classifier.output
        p = rated.probability(logits, torch.full((len(logits),), sample.label)).double()
        whole = self.classifier(edited.image).cpu()
        change = (p - float(rated.probability(whole, torch.tensor([sample.label])))).abs()
        boxes = torch.zeros(0, 4) if sample.boxes is None else sample.boxes
        truth = inside(pixel_boxes(boxes, h, w), h, w)
        on = (~self.keep.reshape(-1, h * w) & truth.flatten()).any(1)
        return ImageScore(
            {
                "outside": _mean(change[~on]) if len(boxes) else math.nan,
                "inside": _mean(change[on]),
            },
            p.view(rows, columns)[rows // 2],
        )


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan
