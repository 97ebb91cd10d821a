"""From saliency maps to regions and boxes, with one rule for maps without evidence.

Non-finite pixels carry no evidence: they count as the map's smallest finite value and never as
part of a region above a threshold. A region without pixels names no part of the image: its box is
the whole image. Boxes are xmin, ymin, xmax, ymax in pixels, the maximum excluded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou


def clean(saliency: Tensor, threshold: float = math.inf) -> Tensor:
    """(h, w) float64 map with every non-finite pixel at or below all others and the threshold;
    zeros if no pixel is finite.

    Args:
        saliency: (1, h, w) raw map.
        threshold: The region's, which a replaced pixel never exceeds; infinity where there is none.

    Raises:
        ValueError: If the map is not (1, h, w).
    """
    if saliency.ndim != 3 or saliency.shape[0] != 1:
        raise ValueError(f"a saliency map must be (1, h, w), got {tuple(saliency.shape)}")
    values = saliency[0].double()
    finite = values.isfinite()
    if bool(finite.all()):
        return values
    lowest = min(float(values[finite].min()) if bool(finite.any()) else 0.0, threshold)
    return torch.where(finite, values, torch.full_like(values, lowest))


def tight_box(region: Tensor) -> Tensor:
    """(4,) int64, the smallest box around all pixels of a region (h, w) bool; see the module."""
    return _box(region.any(1), region.any(0))


def relative_boxes(values: Tensor, alphas: Sequence[float]) -> Tensor:
    """(a, 4) int64: the tight box of {A >= alpha * max A} for every alpha.

    A map without a positive pixel has no evidence: its boxes are the whole image.

    Args:
        values: (h, w) cleaned map; see `clean`.
        alphas: Shares of the maximum, in [0, 1].

    Source: Agarwal and Nguyen 2020, section 4.3.
    """
    rows, columns = values.amax(1), values.amax(0)
    top = float(values.max())
    if top <= 0:
        return torch.tensor([[0, 0, columns.numel(), rows.numel()]] * len(alphas)).view(-1, 4)
    boxes = [_box(rows >= alpha * top, columns >= alpha * top) for alpha in alphas]
    return torch.stack(boxes) if boxes else torch.zeros(0, 4, dtype=torch.long)


def _box(rows: Tensor, columns: Tensor) -> Tensor:
    h, w = rows.numel(), columns.numel()
    if not bool(rows.any()):
        return torch.tensor([0, 0, w, h])
    y, x = rows.nonzero().flatten(), columns.nonzero().flatten()
    return torch.stack([x[0], y[0], x[-1] + 1, y[-1] + 1]).cpu()


def pixel_boxes(boxes: Tensor, h: int, w: int) -> Tensor:
    """(n, 4) int64: ground-truth boxes rounded to whole pixels, each at least one pixel wide.

    So a map that is exactly a box has an intersection over union of 1 with it, as in the
    authors' code, which rounds too.
    """
    limits = torch.tensor([w, h, w, h])
    rounded = boxes.round().long().clamp(min=torch.zeros(4, dtype=torch.long), max=limits)
    low = torch.minimum(rounded[:, :2], limits[:2] - 1)
    return torch.cat([low, torch.maximum(rounded[:, 2:], low + 1)], 1)


def inside(boxes: Tensor, h: int, w: int) -> Tensor:
    """(h, w) bool: pixels in any of the boxes (n, 4) int64."""
    y, x = torch.arange(h).view(1, h, 1), torch.arange(w).view(1, 1, w)
    left, top, right, bottom = boxes.view(-1, 4, 1, 1).unbind(1)
    return ((x >= left) & (x < right) & (y >= top) & (y < bottom)).any(0)


def best_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """(a,) float64: the largest intersection over union of each box (a, 4) with any of (n, 4)."""
    overlap: Tensor = box_iou(boxes.double(), truth.double())
    return overlap.amax(1)


def area_share(boxes: Tensor, h: int, w: int) -> Tensor:
    """(a,) float64 areas of boxes (a, 4) as a share of the image."""
    sides = (boxes[:, 2:] - boxes[:, :2]).double()
    return sides.prod(1) / (h * w)
