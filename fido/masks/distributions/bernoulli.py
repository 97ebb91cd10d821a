"""Masks of units that are kept independently of each other: pixels, cells, superpixels.

FIDO's masks are such, at every keep rate: from a map of probabilities that starts flat and ends
nearly binary. Lengths in pixels belong to the resolution of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fido.masks.distributions.base import (
    Rate,
    check_rate,
    choice,
    photo_of,
    sample_rate,
    uniform,
)
from fido.masks.superpixels import superpixels
from fido.records import Sample


@dataclass(frozen=True)
class BernoulliPixels:
    """Every pixel kept independently.

    Attributes:
        keep: Keep rate, or the interval on which every mask draws its own.

    Raises:
        ValueError: If it is out of range.

    Source: Chang et al. 2019 (FIDO), section 3: q(z) at its start, and Fig. 15 at 1/2.
    """

    keep: Rate = 0.5

    def __post_init__(self) -> None:
        check_rate(self.keep)

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        rate = sample_rate(self.keep, n, generator)
        return torch.rand((n, 1, *size), generator=generator, device=generator.device) < rate


@dataclass(frozen=True)
class BernoulliGrid:
    """Every cell of a grid over the image kept independently, as FIDO with `mask.unit=cell` draws.

    Attributes:
        grid: Cells a side; 56 has cells of 4 pixels in an image of 224, 14 of 16.
        keep: Keep rate, or the interval on which every mask draws its own.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019, section 3.2 (56 cells a side).
    """

    grid: int
    keep: Rate = 0.5

    def __post_init__(self) -> None:
        check_rate(self.keep)
        if self.grid < 1:
            raise ValueError(f"a grid has 1 or more cells a side, got {self.grid}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        rate = sample_rate(self.keep, n, generator)
        shape = (n, 1, self.grid, self.grid)
        cells = torch.rand(shape, generator=generator, device=generator.device) < rate
        return functional.interpolate(cells.float(), size, mode="nearest-exact") > 0.5


@dataclass(frozen=True)
class BernoulliCells:
    """Every square cell kept independently; cell side and phase of the grid vary by mask.

    Attributes:
        sides: Sides of the cells in pixels, equally likely.
        keep: Keep rate, or the interval on which every mask draws its own.

    Raises:
        ValueError: If a number is out of range.
    """

    sides: Sequence[int] = (2, 4, 8, 16, 32)
    keep: Rate = 0.5

    def __post_init__(self) -> None:
        check_rate(self.keep)
        if not self.sides or min(self.sides) < 1:
            raise ValueError(f"sides must be one or more positive pixel counts, got {self.sides}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        rate = sample_rate(self.keep, n, generator)
        return uniform_cells(n, size, choice(n, self.sides, generator), generator) < rate


@dataclass(frozen=True)
class BernoulliSuperpixels:
    """Every superpixel of the photo kept independently, as LIME draws.

    Attributes:
        segments: How many are wanted; see `fido.masks.superpixels.superpixels`.
        keep: Keep rate, or the interval on which every mask draws its own.

    Raises:
        ValueError: If a number is out of range.

    Source: Agarwal and Nguyen 2020, section 3.4.
    """

    segments: int = 50
    keep: Rate = 0.5

    def __post_init__(self) -> None:
        check_rate(self.keep)
        if self.segments < 1:
            raise ValueError(f"an image has 1 or more superpixels, got {self.segments}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        segment = superpixels(photo_of(photo, "superpixels").image, self.segments)
        rate = sample_rate(self.keep, n, generator)
        drawn = torch.rand((n, 1, 1, int(segment.max()) + 1), generator=generator)
        return (drawn < rate)[:, 0, 0][:, segment].unsqueeze(1)


@dataclass(frozen=True)
class SmoothField:
    """Bernoulli draws from a smooth map of keep probabilities, as FIDO's masks become.

    p = sigmoid(logit(rate) + gain * noise), noise normal at knots and bilinear between them.

    Attributes:
        knots: Distances of the knots in pixels, equally likely.
        sides: Sides of the cells that are kept or dropped together, in pixels.
        gain: Largest gain: 0 is a flat map, 10 an almost binary one.
        keep: Keep rate where noise is 0, or the interval on which every mask draws its own.
    """

    knots: Sequence[int] = (16, 32, 64, 112)
    sides: Sequence[int] = (1, 4)
    gain: float = 10.0
    keep: Rate = (0.02, 0.98)

    def __post_init__(self) -> None:
        check_rate(self.keep)

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        (h, w), device = size, generator.device
        rate = torch.as_tensor(sample_rate(self.keep, n, generator), device=device)
        gain = uniform(n, 0.0, self.gain, generator)
        knot = choice(n, self.knots, generator)
        cell = choice(n, self.sides, generator)
        noise = torch.empty((n, 1, h, w), device=device)
        for distance in sorted(set(self.knots)):
            rows = (knot == distance).nonzero().squeeze(1)
            shape = (len(rows), 1, 2 + (h - 1) // distance, 2 + (w - 1) // distance)
            coarse = torch.randn(shape, generator=generator, device=device)
            fine = functional.interpolate(
                coarse,
                size=(1 + (shape[2] - 1) * distance, 1 + (shape[3] - 1) * distance),
                mode="bilinear",
                align_corners=True,
            )
            noise[rows] = fine[..., :h, :w]
        keep_prob = torch.sigmoid(torch.logit(rate, eps=1e-6) + gain * noise)
        return uniform_cells(n, size, cell, generator) < keep_prob


def uniform_cells(n: int, size: tuple[int, int], cell: Tensor, generator: Generator) -> Tensor:
    """One uniform number a square cell, on a grid with a random phase for every row.

    Args:
        n: Rows.
        size: (h, w) in pixels.
        cell: (n,) sides of the cells in pixels.
        generator: Source of the numbers.

    Returns:
        (n, 1, h, w) numbers on [0, 1), constant on cells.
    """
    (h, w), device = size, generator.device
    smallest = int(cell.min())
    shape = (n, 2 + (h - 1) // smallest, 2 + (w - 1) // smallest)
    table = torch.rand(shape, generator=generator, device=device)
    phase = torch.rand((2, n), generator=generator, device=device).mul(cell).long()
    rows = (torch.arange(h, device=device) + phase[0, :, None]) // cell[:, None]  # (n, h)
    columns = (torch.arange(w, device=device) + phase[1, :, None]) // cell[:, None]  # (n, w)
    which = torch.arange(n, device=device)[:, None, None]
    return table[which, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
