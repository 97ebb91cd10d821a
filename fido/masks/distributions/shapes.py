"""Masks of connected holes: boxes, rectangles, strokes. Fractions are of the shorter side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fido.masks.distributions.base import photo_of, uniform
from fido.masks.regions import inside, pixel_boxes
from fido.records import Sample


@dataclass(frozen=True)
class CentredBox:
    """A square in the middle dropped.

    Attributes:
        side: Of the square, as a share of the image's shorter side; 1/2 is 112 of 224 pixels.

    Raises:
        ValueError: If it does not lie in (0, 1].

    Source: Chang et al. 2019, Fig. 3.
    """

    side: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.side <= 1:
            raise ValueError(f"the box's side must lie in (0, 1], got {self.side}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        h, w = size
        side = max(1, round(self.side * min(h, w)))
        top, left = (h - side) // 2, (w - side) // 2
        keep = torch.ones(n, 1, h, w, dtype=torch.bool, device=generator.device)
        keep[..., top : top + side, left : left + side] = False
        return keep


@dataclass(frozen=True)
class ObjectBox:
    """The union of the ground-truth boxes dropped, or kept alone.

    Attributes:
        part: "filled" drops the boxes, "kept" drops everything else.

    Raises:
        ValueError: If `part` is neither.
    """

    part: str = "filled"

    def __post_init__(self) -> None:
        if self.part not in ("filled", "kept"):
            raise ValueError(f"an object's box is filled or kept, got {self.part!r}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor | None:
        """See `MaskDistribution.sample`; None for photos without boxes."""
        boxes = photo_of(photo, "an object's box").boxes
        if boxes is None or not len(boxes):
            return None
        region = inside(pixel_boxes(boxes, *size), *size)
        return (region if self.part == "kept" else ~region).expand(n, 1, *size)


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

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        (h, w), device = size, generator.device
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
        dropped = (in_rows & in_columns & used[..., None, None]).any(1, keepdim=True)
        flip = uniform(n, 0.0, 1.0, generator) < self.outside
        return dropped == flip


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

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`."""
        (h, w), device = size, generator.device
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
        return ~hole.unsqueeze(1)
