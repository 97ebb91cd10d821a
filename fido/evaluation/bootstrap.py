"""Means with bootstrap intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 4_000_000
"""Numbers drawn at once: bounds the memory of resampling, whatever the number of images."""


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Attributes:
        n: Images that count.
        mean: Their mean; NaN for none.
        low: Lower end of the interval; NaN for fewer than two images.
        high: Its upper end.
    """

    n: int
    mean: float
    low: float
    high: float


class Bootstrap:
    """Percentile bootstrap intervals of means over images.

    The interval of n numbers depends on the numbers, n and the seed alone: every column of n
    images is resampled with the same draws, so differences of columns are paired by themselves.

    Args:
        resamples: How many resampled means an interval is read off.
        level: Of the interval, in (0, 1).
        seed: Of the resampling.

    Raises:
        ValueError: If a number is out of range.

    Source: Efron 1979.
    """

    def __init__(self, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> None:
        if resamples < 1:
            raise ValueError(f"resamples must be 1 or more, got {resamples}")
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        self.resamples = resamples
        self.level = level
        self.seed = seed

    def mean(self, by_image: Mapping[str, float]) -> Estimate:
        """Mean of the numbers that are defined, with its interval.

        Args:
            by_image: Numbers by image id; NaN where undefined. Their order does not matter.
        """
        values = np.array(
            [by_image[i] for i in sorted(by_image) if not math.isnan(by_image[i])], dtype=float
        )
        n = len(values)
        mean = math.fsum(values) / n if n else math.nan
        if n < 2:
            return Estimate(n, mean, math.nan, math.nan)
        tail = (1 - self.level) / 2
        low, high = np.quantile(self.resampled(values), [tail, 1 - tail])
        return Estimate(n, mean, float(low), float(high))

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Estimate:
        """Mean of a - b over the images for which both are defined, with its interval."""
        return self.mean({i: a[i] - b[i] for i in a.keys() & b.keys()})

    def resampled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(resamples,) means of n numbers drawn from `values` (n,) with replacement."""
        n = len(values)
        generator = np.random.default_rng([self.seed, n])
        means = np.empty(self.resamples)
        rows = max(1, CHUNK // n)
        for first in range(0, self.resamples, rows):
            part = means[first : first + rows]
            part[:] = values[generator.integers(n, size=(len(part), n))].mean(1)
        return means
