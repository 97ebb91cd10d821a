"""Reference maps, which need no explainer: the other rows of a table are compared with them."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.masks.regions import inside, pixel_boxes
from fido.records import Explanation, Sample
from fido.runtime.noise import ImageNoise

FULL, CENTER, TRUTH, RANDOM = "Full", "Center", "Ground-truth box", "Random map"
REFERENCE_ROWS = (FULL, CENTER, TRUTH, RANDOM)


def reference_explanations(row: str, sample: Sample, seed: int = 0) -> list[Explanation]:
    """Return the maps of one reference row for one image; its score is their mean.

    "Full" is 1 everywhere. "Center" is 1 in the box [33, 191)^2 of 224 pixels, scaled to the
    image: half of its area. "Ground-truth box" is one map a ground-truth box, none for images
    without. "Random map" is uniform noise, drawn for every pixel by itself.

    Args:
        row: One of `REFERENCE_ROWS`.
        sample: The image.
        seed: Seed of the random map; the numbers depend on it and on the image's id.

    Raises:
        ValueError: If there is no such row.

    Source: Chang et al. 2019, Table 1 ("Max", "Center", "BBox"); the centre box is that of the
    code of Phang et al. 2020.
    """
    h, w = int(sample.image.shape[-2]), int(sample.image.shape[-1])
    if row == FULL:
        maps = [torch.ones(1, h, w)]
    elif row == CENTER:
        maps = [_box_map(center_box(h, w), h, w)]
    elif row == TRUTH:
        boxes = torch.zeros(0, 4) if sample.boxes is None else sample.boxes
        maps = [_box_map(box, h, w) for box in pixel_boxes(boxes, h, w)]
    elif row == RANDOM:
        maps = [ImageNoise(seed, [sample.id], "random_map").uniform(1, 1, h, w)[0]]
    else:
        raise ValueError(f"a reference row is one of {', '.join(REFERENCE_ROWS)}; got {row!r}")
    target = sample.target if sample.target is not None else sample.label
    return [Explanation(sample.id, -1 if target is None else target, one) for one in maps]


def center_box(h: int, w: int) -> Tensor:
    """(4,) int64, the box [33, 191)^2 of a 224-pixel image scaled to (h, w)."""
    share = torch.tensor([33.0, 33.0, 191.0, 191.0], dtype=torch.float64) / 224
    return pixel_boxes((share * torch.tensor([w, h, w, h])).unsqueeze(0), h, w)[0]


def _box_map(box: Tensor, h: int, w: int) -> Tensor:
    return inside(box.unsqueeze(0), h, w).float().unsqueeze(0)
