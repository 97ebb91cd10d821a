"""When a region has stopped changing."""

from __future__ import annotations

from torch import Tensor

STILL = 0.02
"""Share of a region's pixels that may come and go while it counts as unchanged."""


class Patience:
    """Tells which images have had the same region for a number of steps.

    A region counts as unchanged while the pixels in which it differs from the one that it is
    compared with are at most 2 % of both together; otherwise it becomes the one to compare with.
    Regions are compared by what they were at the start of the waiting, so that a slow drift does
    not pass. A region without pixels is never settled.

    Args:
        steps: How long a region has to stay as it is.
        images: Number b of images.
    """

    def __init__(self, steps: int, images: int) -> None:
        self.steps = steps
        self._since = [0] * images
        self._region: Tensor | None = None

    def settled(self, region: Tensor, step: int) -> list[bool]:
        """Which of the images have settled.

        Args:
            region: (b, 1, h, w) bool, as it is now.
            step: Index of the step, rising from call to call.
        """
        if self._region is None:
            self._region = region.clone()
        together = (region | self._region).sum((1, 2, 3))
        changed = (region ^ self._region).sum((1, 2, 3)) > STILL * together
        for image, moved in enumerate((changed | (together == 0)).tolist()):
            if moved:
                self._region[image] = region[image]
                self._since[image] = step
        return [step - since >= self.steps for since in self._since]
