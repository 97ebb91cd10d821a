"""Where a sampler lets an estimate change, found while it samples."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.diffusion.guidance import strongest_pixels


class SelfMask(ABC):
    """A mask that is made anew in every step."""

    @abstractmethod
    def of(
        self, x0: Tensor, photo: Tensor, gradient: Tensor, last: Tensor, progress: float
    ) -> Tensor:
        """Where the change is taken.

        Args:
            x0: (b, 3, h, w) estimates on the scale [-1, 1].
            photo: (b, 3, h, w) the photos.
            gradient: (b, 3, h, w) of the classifier; zero for images that are not pushed now.
            last: (b, 1, h, w) the mask of the step before, 1 everywhere at first.
            progress: Share of the steps that are done, in [0, 1).

        Returns:
            (b, 1, h, w) in [0, 1].
        """


class ChangedPixels(SelfMask):
    """Where the estimate differs from the photo, in its share of the largest difference.

    Args:
        threshold: Of the change as a share of its maximum, in (0, 1).
        dilation: Side in pixels by which the mask grows, odd.
        warmup: Share of the steps before the first mask, in [0, 1).

    Raises:
        ValueError: If a number is out of range.

    Source: Weng et al. 2024 (FastDiME), self-optimised mask; an image without a change has an
    empty mask instead of 0 / 0.
    """

    def __init__(self, threshold: float = 0.15, dilation: int = 5, warmup: float = 0.5) -> None:
        if not 0 < threshold < 1 or not 0 <= warmup < 1:
            raise ValueError(
                "explainer.mask needs threshold in (0, 1) and warmup in [0, 1), "
                f"got {threshold} and {warmup}"
            )
        self.threshold = threshold
        self.dilation = _odd(dilation)
        self.warmup = warmup

    def of(
        self, x0: Tensor, photo: Tensor, gradient: Tensor, last: Tensor, progress: float
    ) -> Tensor:
        """See `SelfMask.of`."""
        if progress < self.warmup:
            return last
        return dilated(changed(x0, photo, self.threshold), self.dilation)


class StrongestGradient(SelfMask):
    """Where the classifier's gradient is strongest; the mask stays where nothing is pushed.

    Args:
        share: Of the pixels, in (0, 1].
        dilation: Side in pixels by which the mask grows, odd.

    Raises:
        ValueError: If a number is out of range.

    Source: Guo et al. 2026 (MaskDiME), which blurs the mask where this one dilates it.
    """

    def __init__(self, share: float = 0.1, dilation: int = 5) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"explainer.mask.share must be in (0, 1], got {share}")
        self.share = share
        self.dilation = _odd(dilation)

    def of(
        self, x0: Tensor, photo: Tensor, gradient: Tensor, last: Tensor, progress: float
    ) -> Tensor:
        """See `SelfMask.of`."""
        fresh = dilated(strongest_pixels(gradient, self.share).float(), self.dilation)
        pushed = (gradient != 0).flatten(1).any(1).view(-1, 1, 1, 1)
        return torch.where(pushed, fresh, last)


def changed(a: Tensor, b: Tensor, threshold: float) -> Tensor:
    """(b, 1, h, w) in {0, 1}: where two batches differ by a share of their largest difference."""
    change = (a - b).abs().sum(1, keepdim=True)
    largest = change.amax((1, 2, 3), keepdim=True)
    return ((change >= threshold * largest) & (largest > 0)).float()


def dilated(mask: Tensor, side: int) -> Tensor:
    """(b, 1, h, w): the maximum over squares of an odd side."""
    return F.max_pool2d(mask, side, stride=1, padding=side // 2)


def _odd(side: int) -> int:
    if side < 1 or side % 2 == 0:
        raise ValueError(f"a dilation must be an odd number of pixels, got {side}")
    return side
