"""How near an infilled image is to the image as it was, pixel by pixel and window by window."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

MS_SSIM_SIDE = 176
"""Five scales of 11-pixel windows: the side, divided by 16, must be 11 pixels or more."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang et al. 2003)."""

PSNR_CEILING = 100.0
"""dB; what an exact copy counts, whose PSNR is infinite. 8-bit rounding alone gives 59 dB."""


def hole_l1(image: Tensor, edited: Tensor, keep: Tensor) -> Tensor:
    """(n,) mean absolute difference over dropped pixels and channels; NaN without a dropped pixel.

    Args:
        image: (n, 3, h, w) in [0, 1], or one row for all.
        edited: (n, 3, h, w) in [0, 1].
        keep: (n, 1, h, w) bool, True keeps.
    """
    hole = (~keep).double()
    difference = (image - edited).abs().double().mean(1, keepdim=True) * hole
    return difference.sum((1, 2, 3)) / hole.sum((1, 2, 3))


def psnr(image: Tensor, edited: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratio in dB over the whole image, at most `PSNR_CEILING`.

    Without the ceiling one exact copy would make the mean over images infinite.

    Args:
        image: (n, 3, h, w) in [0, 1], the peak is 1; or one row for all.
        edited: (n, 3, h, w) in [0, 1].
    """
    error = (image - edited).double().square().mean((1, 2, 3))
    return (-10 * error.log10()).clamp(max=PSNR_CEILING)


def ssim(image: Tensor, edited: Tensor) -> Tensor:
    """(n,) structural similarity of images (n, 3, h, w) with data range 1, windows of 11 pixels.

    Source: Wang et al. 2004; torchmetrics' implementation (Gaussian windows, sigma 1.5).
    """
    return _one_scale(image.expand_as(edited), edited)[0].double()


def ms_ssim(image: Tensor, edited: Tensor) -> Tensor:
    """(n,) multi-scale structural similarity, data range 1; NaN below 176 pixels a side.

    Args:
        image: (n, 3, h, w) in [0, 1], or one row for all.
        edited: (n, 3, h, w) in [0, 1].

    Source: Wang et al. 2003; the numbers of torchmetrics, which differ from pytorch-msssim's.
    """
    return ssim_and_ms_ssim(image, edited)[1]


def ssim_and_ms_ssim(image: Tensor, edited: Tensor) -> tuple[Tensor, Tensor]:
    """`ssim` and `ms_ssim` for little more than the price of one: they share the full scale."""
    a, b = image.expand_as(edited), edited
    if min(a.shape[-2:]) < MS_SSIM_SIDE:
        return ssim(a, b), torch.full((len(b),), math.nan, dtype=torch.float64)
    scales = []
    for _ in SCALE_WEIGHTS:
        scales.append(_one_scale(a, b))
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    # Contrast and structure of every scale, luminance of the coarsest only.
    factors = torch.stack([*(contrast for _, contrast in scales[:-1]), scales[-1][0]])
    weights = factors.new_tensor(SCALE_WEIGHTS).view(-1, 1)
    return scales[0][0].double(), (factors.relu() ** weights).prod(0).double()


def _one_scale(image: Tensor, edited: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) SSIM and its factor of contrast and structure, means over windows."""
    # Channels last: its window sums take three quarters of the time of the other layout.
    both = structural_similarity_index_measure(
        edited.contiguous(memory_format=torch.channels_last),
        image.contiguous(memory_format=torch.channels_last),
        reduction="none",
        data_range=1.0,
        return_contrast_sensitivity=True,
    )
    similarity, contrast = both
    return similarity.reshape(-1), contrast.reshape(-1)
