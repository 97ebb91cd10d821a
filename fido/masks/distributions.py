"""The laws of the masks under which infillers are measured; one definition for all metrics.

Masks of a law depend on (seed, image, name of the law) alone: every infiller gets the same ones,
and a law does not change when others are added. Training has laws of its own, whose sizes vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fido.masks.regions import inside, pixel_boxes
from fido.masks.superpixels import superpixels
from fido.records import Sample
from fido.runtime.noise import image_seed


class MaskDistribution(Protocol):
    """Draws the masks of one image."""

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor | None:
        """(n, 1, h, w) bool, True keeps; None where the image gives no such mask (no boxes)."""
        ...


def draw_masks(
    laws: Mapping[str, MaskDistribution], sample: Sample, n: int = 1, seed: int = 0
) -> dict[str, Tensor]:
    """(n, 1, h, w) bool keep masks by law; laws without a mask for this image are missing.

    Args:
        laws: Name to law.
        sample: The image.
        n: Masks a law.
        seed: Another seed draws other masks.
    """
    drawn = {}
    for name, law in laws.items():
        generator = torch.Generator().manual_seed(image_seed(seed, sample.id, f"holes {name}"))
        keep = law.draw(sample, n, generator)
        if keep is not None:
            drawn[name] = keep
    return drawn


@dataclass(frozen=True)
class Pixels:
    """Every pixel kept by itself.

    Attributes:
        keep: Probability of keeping, in [0, 1].

    Raises:
        ValueError: If it is out of range.

    Source: Chang et al. 2019, Fig. 15; with 1/2 also where FIDO starts.
    """

    keep: float = 0.5

    def __post_init__(self) -> None:
        _check_rate(self.keep)

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor:
        """See `MaskDistribution.draw`."""
        return torch.rand((n, 1, *_size(sample)), generator=generator) < self.keep


@dataclass(frozen=True)
class Cells:
    """Every cell of a grid over the image kept by itself, as FIDO with `mask.unit=cell` draws.

    Attributes:
        grid: Cells a side; 56 has cells of 4 pixels in an image of 224, 14 of 16.
        keep: Probability of keeping, in [0, 1].

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019, section 4.1 (56 cells a side).
    """

    grid: int
    keep: float = 0.5

    def __post_init__(self) -> None:
        _check_rate(self.keep)
        if self.grid < 1:
            raise ValueError(f"a grid has 1 or more cells a side, got {self.grid}")

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor:
        """See `MaskDistribution.draw`."""
        cells = torch.rand((n, 1, self.grid, self.grid), generator=generator) < self.keep
        return functional.interpolate(cells.float(), _size(sample), mode="nearest-exact") > 0.5


@dataclass(frozen=True)
class Superpixels:
    """Every superpixel of the image kept by itself, as LIME draws.

    Attributes:
        segments: How many are wanted; see `fido.masks.superpixels.superpixels`.
        keep: Probability of keeping, in [0, 1].

    Raises:
        ValueError: If a number is out of range.

    Source: Agarwal and Nguyen 2020, section 3.4.
    """

    segments: int = 50
    keep: float = 0.5

    def __post_init__(self) -> None:
        _check_rate(self.keep)
        if self.segments < 1:
            raise ValueError(f"an image has 1 or more superpixels, got {self.segments}")

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor:
        """See `MaskDistribution.draw`."""
        segment = superpixels(sample.image, self.segments)
        kept = torch.rand((n, int(segment.max()) + 1), generator=generator) < self.keep
        return kept[:, segment].unsqueeze(1)


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

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor:
        """See `MaskDistribution.draw`."""
        h, w = _size(sample)
        side = max(1, round(self.side * min(h, w)))
        top, left = (h - side) // 2, (w - side) // 2
        keep = torch.ones(n, 1, h, w, dtype=torch.bool)
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

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor | None:
        """See `MaskDistribution.draw`; None for images without boxes."""
        if sample.boxes is None or not len(sample.boxes):
            return None
        h, w = _size(sample)
        region = inside(pixel_boxes(sample.boxes, h, w), h, w)
        return (region if self.part == "kept" else ~region).expand(n, 1, h, w)


def _size(sample: Sample) -> tuple[int, int]:
    return int(sample.image.shape[-2]), int(sample.image.shape[-1])


def _check_rate(keep: float) -> None:
    if not 0 <= keep <= 1:
        raise ValueError(f"a keep rate must lie in [0, 1], got {keep}")
