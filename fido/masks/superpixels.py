"""Segments of similar colour."""

from __future__ import annotations

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor


def superpixels(
    image: Tensor, segments: int = 50, compactness: float = 30.0, sigma: float = 3.0
) -> Tensor:
    """SLIC superpixels.

    Args:
        image: (3, h, w) RGB in [0, 1].
        segments: Number of segments to ask for; SLIC returns about as many.
        compactness: Weight of nearness in space against nearness in colour.
        sigma: Standard deviation of the smoothing before, in pixels.

    Returns:
        (h, w) int64 segment numbers 0, 1, ... without gaps.

    Raises:
        ValueError: If `segments` is below 1.

    Source: Achanta et al. 2012; settings of Agarwal and Nguyen 2020's code for LIME.
    """
    if segments < 1:
        raise ValueError(f"segments must be 1 or more, got {segments}")
    pixels = image.detach().cpu().permute(1, 2, 0).double().numpy()
    labels = slic(pixels, n_segments=segments, compactness=compactness, sigma=sigma, start_label=0)
    # SLIC can leave numbers out; a segment that does not exist would be a dead regressor.
    _, numbers = np.unique(labels, return_inverse=True)
    return torch.from_numpy(numbers.reshape(labels.shape).astype(np.int64))
