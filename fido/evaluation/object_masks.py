"""Masks of the object in a photo, wherever its region comes from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from fido.masks.distributions.base import photo_of
from fido.metrics.functional.object_region import ObjectRegion
from fido.records import Sample


@dataclass(frozen=True)
class ObjectMasks:
    """The object's pixels dropped, or kept alone.

    A `fido.masks.distributions.base.MaskDistribution`; `ObjectBox` is the same with the boxes.

    Attributes:
        region: Finds the object's pixels, a segmentation network for instance.
        part: "filled" drops the object, "kept" drops everything else.

    Raises:
        ValueError: If `part` is neither.

    Source: Agarwal and Nguyen 2020, section 4.1, Figs. 2, 3 and S3.
    """

    region: ObjectRegion
    part: str = "filled"

    def __post_init__(self) -> None:
        if self.part not in ("filled", "kept"):
            raise ValueError(f"an object is filled or kept, got {self.part!r}")

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor | None:
        """See `MaskDistribution.sample`; None for photos in which no object is found."""
        region = self.region.find(photo_of(photo, "an object"))
        if region is None or not bool(region.any()):
            return None
        return (region if self.part == "kept" else ~region).expand(n, 1, *size)
