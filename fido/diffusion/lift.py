"""Images between the sizes of a denoiser and of a classifier, and on disk."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, c, *size): bicubic with antialiasing, not clamped; the image itself at its own size."""
    if (image.shape[-2], image.shape[-1]) == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True)


def residual_lift(image: Tensor, small: Tensor) -> Tensor:
    """The image plus the enlarged difference between a small picture and the image made small.

    `clamp(image + U(small - D image))`, U and D bicubic: details that do not fit into the small
    picture stay, and no difference gives the image bit for bit.

    Args:
        image: (n, 3, h, w) in [0, 1].
        small: (n, 3, h', w') in [0, 1]; gradients flow to it. At the size of the image it is the
            result.

    Returns:
        (n, 3, h, w) in [0, 1].
    """
    size = (image.shape[-2], image.shape[-1])
    if (small.shape[-2], small.shape[-1]) == size:
        return small.clamp(0, 1)
    shrunk = resized(image, (small.shape[-2], small.shape[-1])).clamp(0, 1)
    return (image + resized(small - shrunk, size)).clamp(0, 1)


def to_8_bits(image: Tensor) -> Tensor:
    """[0, 1] -> uint8, rounded; what is not finite becomes 0."""
    return (image.nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)
