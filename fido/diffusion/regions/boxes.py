"""The boxes that people drew may change."""

from __future__ import annotations

from torch import Tensor

from fido.diffusion.regions.base import NoRegionError, Region
from fido.masks.regions import inside, pixel_boxes
from fido.records import Sample


class BoxRegion(Region):
    """Pixels in any of the image's boxes, rounded to whole pixels.

    Args:
        arm: See `Region`.
    """

    def inside(self, sample: Sample) -> Tensor:
        """See `Region.inside`."""
        if sample.boxes is None or not len(sample.boxes):
            raise NoRegionError("the image has no boxes")
        h, w = int(sample.image.shape[-2]), int(sample.image.shape[-1])
        return inside(pixel_boxes(sample.boxes, h, w), h, w).unsqueeze(0)
