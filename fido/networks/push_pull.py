"""Push-pull: fill from averages of kept pixels at every scale, as input of networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def push_pull(image: Tensor, keep: Tensor, gain: float = 1.0, relaxations: int = 0) -> Tensor:
    """Fill dropped pixels from a pyramid of averages over kept pixels.

    Every level has colours v and confidences c, at first the image and keep. A cell of the next
    level has the average of its four colours weighted by their confidences, and the confidence
    min(1, gain * average of the four). Coarse to fine: fill = c * v + (1 - c) * up2(coarser fill).
    A level whose sides are odd ends the pyramid; where nothing is kept even there, the fill is the
    mean of all kept pixels, or 0.5 if there are none. From a quarter of the resolution on, a level
    is then relaxed: fill = c * v + (1 - c) * average of 3 x 3 cells of the fill, some times.

    Args:
        image: (n, 3, h, w) in [0, 1]. Dropped pixels have no influence.
        keep: (n, 1, h, w) of zeros and ones.
        gain: Factor of the confidence of a cell. With 1, distant colours tint the fill between
            scattered pixels; with 4, one kept pixel of four gives full confidence, which is far
            closer to photos (docs/models/ca.md).
        relaxations: Number of relaxations; 4 make large holes smooth, and closer to photos.

    Returns:
        (n, 3, h, w): kept pixels unchanged.

    Source: Gortler et al. 1996 (The Lumigraph), push-pull: gain 4 is its saturation.
    """
    known, kept = image * keep, keep
    levels = [(known, kept)]
    while not (known.shape[-2] % 2 or known.shape[-1] % 2):
        known, kept = F.avg_pool2d(known, 2), F.avg_pool2d(kept, 2)
        if gain != 1:
            believed = (gain * kept).clamp_max(1.0)
            known, kept = known * (believed / kept.clamp_min(1e-12)), believed
        levels.append((known, kept))
    total = kept.sum((2, 3), keepdim=True)
    mean = known.sum((2, 3), keepdim=True) / total.clamp_min(1e-12)
    fill = torch.where(total > 0, mean, 0.5).expand_as(known)
    for level in reversed(range(len(levels))):
        known, kept = levels[level]
        if fill.shape != known.shape:
            fill = F.interpolate(fill, scale_factor=2.0, mode="bilinear", align_corners=False)
        fill = torch.addcmul(known, 1 - kept, fill)
        for _ in range(relaxations if level >= 2 else 0):
            around = F.pad(fill, (1, 1, 1, 1), mode="replicate")
            fill = torch.addcmul(known, 1 - kept, F.avg_pool2d(around, 3, 1))
    return fill
