"""The level of a map whose region is the smallest that does what is asked of it."""

from __future__ import annotations

import torch
from torch import Tensor

AREAS = (0.02, 0.03, 0.045, 0.065, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.51, 0.6, 0.7)
"""Shares of the image that are tried beside the level 1/2."""


def levels_of(saliency: Tensor) -> Tensor:
    """(1, h, w) map -> (k,) levels to try, from the largest region to the smallest; 1/2 is one."""
    values = saliency.flatten().sort(descending=True).values
    places = [int(area * len(values)) for area in AREAS]
    levels: Tensor = torch.unique(torch.cat([values[places], values.new_tensor([0.5])]))
    return levels  # rising


def smallest_level(levels: Tensor, slack: Tensor) -> float:
    """The highest of the levels whose region meets the constraints, else the nearest to it.

    Args:
        levels: (k,) rising.
        slack: (k,) nats by which a level's region meets the constraints; negative if it fails.
    """
    met = (slack >= 0).nonzero()
    best = int(met[-1]) if len(met) else int(slack.argmax())
    return float(levels[best])
