"""Which pixels a counterfactual may change, and the two regions to compare that with."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fido.records import Sample
from fido.runtime.noise import image_seed

ARMS = ("inside", "outside", "random")
"""The region itself, everything else, and a region of the same shape at a random place."""


class NoRegionError(ValueError):
    """An image has no region of this kind; the others may have one."""


class Region(ABC):
    """Pixels that may change.

    Args:
        arm: "inside" the region, "outside" of it, or "random": the region moved by a random
            distance, going on at the opposite border, so that area and shape are the same.

    Raises:
        ValueError: If there is no such arm.
    """

    def __init__(self, arm: str = "inside") -> None:
        if arm not in ARMS:
            raise ValueError(f"explainer.region.arm must be one of {', '.join(ARMS)}, got {arm!r}")
        self.arm = arm

    @abstractmethod
    def inside(self, sample: Sample) -> Tensor:
        """(1, h, w) bool: the region itself.

        Raises:
            NoRegionError: If the image has none.
        """

    def of(self, sample: Sample, seed: int = 0) -> Tensor:
        """(1, h, w) bool: pixels that may change.

        An image whose region is empty or everything has none, in any arm: so all arms are of the
        same images.

        Args:
            sample: The image.
            seed: Of the run, for the random arm; it depends on the image's id, too.

        Raises:
            NoRegionError: If the image has no region.
            ValueError: If the region is of other pixels than the image.
        """
        region = self.inside(sample)
        size = tuple(sample.image.shape[-2:])
        if tuple(region.shape) != (1, *size):
            raise ValueError(
                f"the region of {sample.id!r} must be (1, {size[0]}, {size[1]}), "
                f"got {tuple(region.shape)}"
            )
        share = float(region.float().mean())
        if share in (0.0, 1.0):
            what = "empty" if share == 0 else "the whole image"
            raise NoRegionError(f"the region is {what}")
        if self.arm == "outside":
            return ~region
        return region if self.arm == "inside" else _moved(region, sample.id, seed)


def strongest(values: Tensor, area: float) -> Tensor:
    """(1, h, w) bool: the pixels of the highest values.

    Args:
        values: (1, h, w); what is not finite counts as lowest.
        area: Share of the image, in (0, 1).
    """
    flat = values.flatten().double()
    flat = flat.where(flat.isfinite(), torch.full_like(flat, -torch.inf))
    count = max(1, round(area * flat.numel()))
    region = torch.zeros_like(flat, dtype=torch.bool)
    region[flat.argsort(descending=True, stable=True)[:count]] = True
    return region.view(values.shape)


def _moved(region: Tensor, image_id: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(image_seed(seed, image_id, "region"))
    h, w = region.shape[-2:]
    offset = int(torch.randint(1, h * w, (), generator=generator))
    return region.roll((offset // w, offset % w), (-2, -1))
