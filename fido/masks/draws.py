"""Random numbers whose neighbours agree: masks drawn from them have holes of a size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.runtime.noise import ImageNoise


def blob_uniform(
    rows: int, size: tuple[int, int], blob_sizes: Sequence[float], noise: ImageNoise
) -> Tensor:
    """Fields of uniform numbers, correlated over a number of pixels: `u = Phi(blob_normal)`.

    Every number by itself is uniform on (0, 1), exactly and at the border too.

    Args:
        rows: Number of fields an image.
        size: (h, w) in pixels.
        blob_sizes: See `blob_normal`.
        noise: The images' random numbers.

    Returns:
        (b * rows, 1, h, w) float32; row r belongs to image r // rows.

    Source: Gaussian copula (Sklar 1959) over a stationary Gaussian field.
    """
    uniform: Tensor = torch.special.ndtr(blob_normal(rows, size, blob_sizes, noise))
    return uniform


def blob_normal(
    rows: int, size: tuple[int, int], blob_sizes: Sequence[float], noise: ImageNoise
) -> Tensor:
    """Fields of standard normal numbers, correlated over a number of pixels.

    White noise under a filter of unit l2 norm, which runs over noise around the image, so that
    every number has unit variance at the border too.

    Args:
        rows: Number of fields an image.
        size: (h, w) in pixels.
        blob_sizes: Distance in pixels, > 0, at which the correlation of the Gaussian field has
            fallen to 1/e: twice the standard deviation of the filter. Several take turns, so that
            row r of an image has size number r modulo their count.
        noise: The images' random numbers.

    Returns:
        (b * rows, 1, h, w) float32; row r belongs to image r // rows.
    """
    h, w = size
    fields: list[Tensor | None] = [None] * rows
    for turn, blob_size in enumerate(blob_sizes[:rows]):
        mine = range(turn, rows, len(blob_sizes))
        kernel = _gaussian(blob_size / 2).to(noise.device)
        around = len(kernel) - 1
        white = noise.normal(len(mine), 1, h + around, w + around)
        smooth = F.conv2d(F.conv2d(white, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
        for row, field in zip(mine, smooth.view(-1, len(mine), h, w).unbind(1), strict=True):
            fields[row] = field
    stacked = torch.stack([field for field in fields if field is not None], 1)
    return stacked.view(-1, 1, h, w)


def _gaussian(sigma: float) -> Tensor:
    """(2 r + 1,) Gaussian filter of unit l2 norm, r three standard deviations."""
    radius = math.ceil(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel: Tensor = torch.exp(-0.5 * (x / sigma).square())
    normed: Tensor = kernel / torch.linalg.vector_norm(kernel)
    return normed.float()
