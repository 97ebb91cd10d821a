"""The laws by which training masks are drawn: what an infiller must be able to fill.

FIDO's masks are independent Bernoulli pixels or cells at every keep rate, from a map of
probabilities that starts flat and ends nearly binary. A law here is a frozen dataclass whose
`sample` draws one mask a row, all parameters anew for every row, from one explicit generator.
Lengths in pixels belong to the training resolution; fractions are of the shorter side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional


class HoleMask(Protocol):
    """A law of random masks."""

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) float32 zeros and ones: 1 keeps the pixel, 0 drops it."""
        ...


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """(n, 1, 1, 1) float32, uniform on [low, high)."""
    values = torch.rand((n, 1, 1, 1), generator=generator, device=generator.device)
    return low + (high - low) * values


def choice(n: int, values: Sequence[int], generator: Generator) -> Tensor:
    """(n,) integers drawn from `values` with equal probability."""
    picked = torch.randint(len(values), (n,), generator=generator, device=generator.device)
    return torch.tensor(list(values), device=generator.device)[picked]


def uniform_cells(n: int, h: int, w: int, cell: Tensor, generator: Generator) -> Tensor:
    """One uniform number a square cell, on a grid with a random phase for every row.

    Args:
        n: Rows.
        h: Height in pixels.
        w: Width in pixels.
        cell: (n,) sides of the cells in pixels.
        generator: Source of the numbers.

    Returns:
        (n, 1, h, w) numbers on [0, 1), constant on cells.
    """
    device = generator.device
    smallest = int(cell.min())
    shape = (n, 2 + (h - 1) // smallest, 2 + (w - 1) // smallest)
    table = torch.rand(shape, generator=generator, device=device)
    phase = torch.rand((2, n), generator=generator, device=device).mul(cell).long()
    rows = (torch.arange(h, device=device) + phase[0, :, None]) // cell[:, None]  # (n, h)
    columns = (torch.arange(w, device=device) + phase[1, :, None]) // cell[:, None]  # (n, w)
    which = torch.arange(n, device=device)[:, None, None]
    return table[which, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def check_rates(low: float, high: float) -> None:
    """Refuse keep rates outside [0, 1] or in the wrong order.

    Raises:
        ValueError: If not 0 <= low <= high <= 1.
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"keep rates must satisfy 0 <= low <= high <= 1, got {low} and {high}")


@dataclass(frozen=True)
class BernoulliPixels:
    """Every pixel kept independently, with a keep rate uniform on [low, high] for each row.

    Source: Chang et al. 2019 (FIDO), section 3: q(z) at its start.
    """

    low: float = 0.02
    high: float = 0.98

    def __post_init__(self) -> None:
        check_rates(self.low, self.high)

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        rate = uniform(n, self.low, self.high, generator)
        drawn = torch.rand((n, 1, h, w), generator=generator, device=generator.device)
        return (drawn < rate).float()


@dataclass(frozen=True)
class BernoulliCells:
    """Every square cell kept independently; cell side, grid phase and keep rate vary by row.

    Attributes:
        sides: Sides of the cells in pixels, equally likely.
        low: Lowest keep rate.
        high: Highest keep rate.
    """

    sides: Sequence[int] = (2, 4, 8, 16, 32)
    low: float = 0.02
    high: float = 0.98

    def __post_init__(self) -> None:
        check_rates(self.low, self.high)
        if not self.sides or min(self.sides) < 1:
            raise ValueError(f"sides must be one or more positive pixel counts, got {self.sides}")

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        rate = uniform(n, self.low, self.high, generator)
        cell = choice(n, self.sides, generator)
        return (uniform_cells(n, h, w, cell, generator) < rate).float()


@dataclass(frozen=True)
class SmoothField:
    """Bernoulli draws from a smooth map of keep probabilities, as FIDO's masks become.

    p = sigmoid(logit(rate) + gain * noise), noise normal at knots and bilinear between them.

    Attributes:
        knots: Distances of the knots in pixels, equally likely.
        sides: Sides of the cells that are kept or dropped together, in pixels.
        gain: Largest gain: 0 is a flat map, 10 an almost binary one.
        low: Lowest keep rate where noise is 0.
        high: Highest keep rate where noise is 0.
    """

    knots: Sequence[int] = (16, 32, 64, 112)
    sides: Sequence[int] = (1, 4)
    gain: float = 10.0
    low: float = 0.02
    high: float = 0.98

    def __post_init__(self) -> None:
        check_rates(self.low, self.high)

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        device = generator.device
        rate = uniform(n, self.low, self.high, generator)
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
        return (uniform_cells(n, h, w, cell, generator) < keep_prob).float()


@dataclass(frozen=True)
class Rectangles:
    """One or more rectangles dropped, or kept alone.

    Attributes:
        most: Largest number of rectangles; the number is uniform on 1..most.
        shortest: Shortest side, a fraction of the image's shorter side.
        longest: Longest side, same unit.
        outside: Probability that everything outside the rectangles is dropped instead.

    Source: Yu et al. 2018 (DeepFill), one rectangle; `outside` is what a preserved object leaves.
    """

    most: int = 3
    shortest: float = 0.12
    longest: float = 0.6
    outside: float = 0.25

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        device = generator.device
        count = torch.randint(1, self.most + 1, (n, 1), generator=generator, device=device)
        draw = torch.rand((4, n, self.most), generator=generator, device=device)
        side = min(h, w) * (self.shortest + (self.longest - self.shortest) * draw[:2])
        top = draw[2] * (h - side[0])
        left = draw[3] * (w - side[1])
        y = torch.arange(h, device=device).view(1, 1, h, 1) + 0.5
        x = torch.arange(w, device=device).view(1, 1, 1, w) + 0.5
        in_rows = (y >= top[..., None, None]) & (y < (top + side[0])[..., None, None])
        in_columns = (x >= left[..., None, None]) & (x < (left + side[1])[..., None, None])
        used = torch.arange(self.most, device=device)[None] < count  # (n, most)
        inside = (in_rows & in_columns & used[..., None, None]).any(1, keepdim=True)
        flip = uniform(n, 0.0, 1.0, generator) < self.outside
        return (inside == flip).float()


@dataclass(frozen=True)
class Strokes:
    """Free-form holes: a random walk of thick segments.

    Attributes:
        most: Largest number of segments; the number is uniform on 2..most.
        longest: Longest segment, a fraction of the shorter side.
        thinnest: Smallest width of the stroke, same unit.
        thickest: Largest width of the stroke, same unit.

    Source: Yu et al. 2019 (gated convolution), free-form masks; own parametrisation.
    """

    most: int = 12
    longest: float = 0.5
    thinnest: float = 0.04
    thickest: float = 0.2

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        device = generator.device
        short = min(h, w)
        count = torch.randint(2, self.most + 1, (n,), generator=generator, device=device)
        radius = uniform(n, self.thinnest, self.thickest, generator).view(n, 1, 1) * short / 2
        start = torch.rand((n, 2), generator=generator, device=device)
        point = start * torch.tensor([h, w], device=device)
        angle = 2 * torch.pi * torch.rand((n,), generator=generator, device=device)
        y = torch.arange(h, device=device).view(1, h, 1) + 0.5
        x = torch.arange(w, device=device).view(1, 1, w) + 0.5
        hole = torch.zeros((n, h, w), dtype=torch.bool, device=device)
        for segment in range(self.most):
            turn, length = torch.rand((2, n), generator=generator, device=device)
            angle = angle + (turn - 0.5) * torch.pi
            step = torch.stack([angle.sin(), angle.cos()], 1)
            step = step * (1 + length * self.longest * short)[:, None]
            # A walk that leaves the image turns back.
            end = point + step
            out = (end < 0) | (end > torch.tensor([h, w], device=device))
            step = torch.where(out, -step, step)
            angle = torch.atan2(step[:, 0], step[:, 1])
            dy, dx = y - point[:, 0].view(n, 1, 1), x - point[:, 1].view(n, 1, 1)
            sy, sx = step[:, 0].view(n, 1, 1), step[:, 1].view(n, 1, 1)
            along = ((dy * sy + dx * sx) / (sy**2 + sx**2)).clamp(0, 1)
            near = (dy - along * sy) ** 2 + (dx - along * sx) ** 2 <= radius**2
            hole |= near & (segment < count).view(n, 1, 1)
            point = point + step
        return (~hole).float().unsqueeze(1)


class Mixture:
    """A law chosen for every row, with given probabilities.

    Args:
        laws: The laws by name.
        weights: Relative weight of each law; the same names.

    Raises:
        ValueError: If the names differ or a weight is negative.
    """

    def __init__(self, laws: Mapping[str, HoleMask], weights: Mapping[str, float]) -> None:
        if set(laws) != set(weights) or min(weights.values()) < 0:
            raise ValueError(
                f"every law needs one weight >= 0: laws {sorted(laws)}, weights {dict(weights)}"
            )
        self.laws = dict(laws)
        self.weights = torch.tensor([float(weights[name]) for name in self.laws])

    def sample(self, n: int, h: int, w: int, generator: Generator) -> Tensor:
        """(n, 1, h, w) keep masks."""
        device = generator.device
        weights = self.weights.to(device)
        which = torch.multinomial(weights, n, replacement=True, generator=generator)
        keep = torch.empty((n, 1, h, w), device=device)
        for index, law in enumerate(self.laws.values()):
            rows = (which == index).nonzero().squeeze(1)
            if len(rows):
                keep[rows] = law.sample(len(rows), h, w, generator)
        return keep
