"""Means with bootstrap intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = (16, 64)
"""Resamples and columns of one matrix product; columns share their draws, which cost the most."""


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

    def mean(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of the numbers that are defined, with its interval.

        Args:
            values: (n,) numbers, one an image, NaN where undefined; always in the same order of
                images, by id say, or the same numbers have another interval.
        """
        return self.means([values])[0]

    def difference(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> Estimate:
        """Mean of a - b over the images for which both are defined, with its interval."""
        return self.mean(a - b)

    def means(self, columns: Sequence[NDArray[np.float64]]) -> list[Estimate]:
        """`mean` of many columns at once: those with equally many numbers share their draws."""
        defined = [column[~np.isnan(column)] for column in columns]
        intervals: dict[int, tuple[float, float]] = {}
        for n in sorted({len(values) for values in defined}):
            which = [i for i, values in enumerate(defined) if len(values) == n]
            for first in range(0, len(which) if n > 1 else 0, BLOCK[1]):
                some = which[first : first + BLOCK[1]]
                resampled = self.resampled(np.stack([defined[i] for i in some]))
                tail = (1 - self.level) / 2
                low, high = np.quantile(resampled, [tail, 1 - tail], axis=1)
                intervals |= {i: (float(low[k]), float(high[k])) for k, i in enumerate(some)}
        return [
            Estimate(
                len(values),
                math.fsum(values) / len(values) if len(values) else math.nan,
                *intervals.get(i, (math.nan, math.nan)),
            )
            for i, values in enumerate(defined)
        ]

    def resampled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, resamples) means of n numbers drawn from each row of `values` (k, n)."""
        k, n = values.shape
        generator = np.random.default_rng([self.seed, n])
        # Always of one shape, so that a column's last bits do not depend on the others.
        block = np.zeros((n, BLOCK[1]))
        block[:, :k] = values.T
        often = np.zeros((BLOCK[0], n))
        means = np.empty((self.resamples + BLOCK[0], BLOCK[1]))
        for first in range(0, self.resamples, BLOCK[0]):
            drawn = generator.integers(n, size=(min(BLOCK[0], self.resamples - first), n))
            for row, images in enumerate(drawn):
                often[row] = np.bincount(images, minlength=n)
            means[first : first + BLOCK[0]] = often @ block / n
        return means[: self.resamples, :k].T
