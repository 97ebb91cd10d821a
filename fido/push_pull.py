"""Fills from averages of kept pixels at every scale: a start for networks that complete images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def push_pull(image: Tensor, keep: Tensor) -> Tensor:
    """Fills dropped pixels from a pyramid of averages over kept pixels.

    With n = pooled image * keep and d = pooled keep at every level, coarse to fine:
    fill = n + (1 - d) * up2(coarser fill). A level whose sides are odd ends the pyramid; where
    nothing is kept even there, the fill is the mean of all kept pixels, or 0.5 if there are none.

    Args:
        image: (n, 3, h, w) in [0, 1]. Dropped pixels have no influence.
        keep: (n, 1, h, w) of zeros and ones.

    Returns:
        (n, 3, h, w): kept pixels unchanged.

    Source: Gortler et al. 1996 (The Lumigraph), push-pull; own weights.
    """
    known, kept = image * keep, keep
    levels = [(known, kept)]
    while not (known.shape[-2] % 2 or known.shape[-1] % 2):
        known, kept = functional.avg_pool2d(known, 2), functional.avg_pool2d(kept, 2)
        levels.append((known, kept))
    total = kept.sum((2, 3), keepdim=True)
    mean = known.sum((2, 3), keepdim=True) / total.clamp_min(1e-12)
    fill = torch.where(total > 0, mean, 0.5).expand_as(known)
    for known, kept in reversed(levels):
        if fill.shape != known.shape:
            fill = functional.interpolate(
                fill, scale_factor=2.0, mode="bilinear", align_corners=False
            )
        fill = torch.addcmul(known, 1 - kept, fill)
    return fill
