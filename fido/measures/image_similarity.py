"""How near an infilled image is to the image as it was, pixel by pixel and window by window."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

MS_SSIM_SIDE = 176
"""Five scales of 11-pixel windows: the side, divided by 16, must be 11 pixels or more."""

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
    similarity = structural_similarity_index_measure(
        edited, image.expand_as(edited), reduction="none", data_range=1.0
    )
    assert isinstance(similarity, Tensor)
    return similarity.reshape(-1).double()


def ms_ssim(image: Tensor, edited: Tensor) -> Tensor:
    """(n,) multi-scale structural similarity, data range 1; NaN below 176 pixels a side.

    Args:
        image: (n, 3, h, w) in [0, 1], or one row for all.
        edited: (n, 3, h, w) in [0, 1].

    Source: Wang et al. 2003; torchmetrics' implementation, whose numbers differ from
    pytorch-msssim's.
    """
    if min(image.shape[-2:]) < MS_SSIM_SIDE:
        return torch.full((len(edited),), math.nan, dtype=torch.float64)
    similarity = multiscale_structural_similarity_index_measure(
        edited, image.expand_as(edited), reduction="none", data_range=1.0
    )
    return similarity.reshape(-1).double()
