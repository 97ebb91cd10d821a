"""Separable filters, applied one axis after the other."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def separable_filter(x: Tensor, kernel: Tensor, padding: str) -> Tensor:
    """Correlate every channel with `kernel` along rows, then along columns.

    2 k multiplications a pixel instead of k^2; channels_last inside, in which depthwise
    convolutions are several times faster on CPUs.

    Args:
        x: (n, c, h, w).
        kernel: (k,) weights, k odd.
        padding: "zeros" outside the image, or "reflect" (radius below the image's sides).

    Returns:
        (n, c, h, w).
    """
    channels, k = x.shape[1], kernel.numel()
    r = k // 2
    x = x.contiguous(memory_format=torch.channels_last)
    rows = kernel.to(x).view(1, 1, k, 1).expand(channels, 1, k, 1)
    columns = rows.transpose(2, 3)
    if padding == "reflect":
        x = F.conv2d(F.pad(x, (0, 0, r, r), mode="reflect"), rows, groups=channels)
        return F.conv2d(F.pad(x, (r, r, 0, 0), mode="reflect"), columns, groups=channels)
    x = F.conv2d(x, rows, padding=(r, 0), groups=channels)
    return F.conv2d(x, columns, padding=(0, r), groups=channels)


def gaussian_kernel(sigma: float, radius: int) -> Tensor:
    """(2 radius + 1,) Gaussian weights of standard deviation `sigma` pixels that sum to 1."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-offsets.square() / (2 * sigma * sigma))
    return (weights / weights.sum()).float()


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Blur (n, c, h, w) with standard deviation `sigma` pixels, mirrored at the border.

    The kernel reaches 4 sigma, or as far as mirroring goes in a smaller image.
    """
    radius = min(math.ceil(4 * sigma), min(x.shape[-2:]) - 1)
    return separable_filter(x, gaussian_kernel(sigma, radius), "reflect")
