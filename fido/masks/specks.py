"""Parts of a region that carry little of a map's evidence."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def without_specks(saliency: Tensor, level: float, share: float) -> Tensor:
    """Lower a map to the level where it exceeds it in a small part that lies by itself.

    The weight of a part (a component of the region, connected over sides) is the sum of what its
    pixels exceed the level by.

    Args:
        saliency: (1, h, w).
        level: The region is where the map exceeds it.
        share: Parts lighter than this share of the heaviest are taken out, in [0, 1]; 0 takes
            none, 1 leaves the heaviest alone.

    Returns:
        (1, h, w); the same map where its region is in one part.
    """
    if share == 0:
        return saliency
    above = (saliency[0] - level).double().clamp(min=0).numpy()
    parts, count = ndimage.label(above > 0)
    if count < 2:
        return saliency
    weight = ndimage.sum_labels(above, parts, np.arange(1, count + 1))
    light = np.concatenate([[False], weight < share * weight.max()])
    return saliency.masked_fill(torch.from_numpy(light[parts])[None], level)
