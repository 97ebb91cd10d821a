"""How sure a map is that was learned several times from different random draws."""

from __future__ import annotations

import math

from scipy.stats import t as student_t
from torch import Tensor


def averaged(maps: Tensor) -> tuple[Tensor, Tensor | None]:
    """The mean of repeated maps, and its standard error.

    Args:
        maps: (r, 1, h, w) keep probabilities, each learned from draws of its own.

    Returns:
        (1, h, w) mean and (1, h, w) standard deviation of the maps divided by the root of r; None
        for a single map, of which it is not known.
    """
    if len(maps) == 1:
        return maps[0], None
    return maps.mean(0), maps.std(0) / math.sqrt(len(maps))


def lower_bound(mean: Tensor, error: Tensor, confidence: float, repeats: int) -> Tensor:
    """What the expected map exceeds at a one-sided confidence, at least 0.

    Args:
        mean: (1, h, w) mean of the maps.
        error: (1, h, w) its standard error.
        confidence: In [0.5, 1).
        repeats: Number of maps, 2 or more.

    Source: Student 1908 (t distribution with repeats - 1 degrees of freedom).
    """
    return (mean - float(student_t.ppf(confidence, repeats - 1)) * error).clamp(min=0)
