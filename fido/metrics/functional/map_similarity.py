"""How alike two saliency maps are."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.feature import hog
from skimage.metrics import structural_similarity
from torch import Tensor

from fido.masks.regions import clean

Map = NDArray[np.float64]


def scaled(saliency: Tensor, normalise: Literal["max_abs", "none"] = "max_abs") -> Map:
    """(h, w) cleaned map, divided by its largest magnitude if asked; zeros stay zeros.

    Args:
        saliency: (1, h, w) raw map; see `fido.masks.regions.clean` for its non-finite pixels.
        normalise: "max_abs" or "none".

    Raises:
        ValueError: If `normalise` is not one of these.
    """
    if normalise not in ("max_abs", "none"):
        raise ValueError(f"normalise must be max_abs or none, got {normalise!r}")
    values: Map = clean(saliency).numpy()
    top = float(np.abs(values).max())
    return values / top if normalise == "max_abs" and top > 0 else values


def correlation(a: Map, b: Map) -> float:
    """Pearson's; where one of the two is constant: 1 if both are, else 0."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    if norm <= 1e-12:
        return float(np.ptp(a) <= 1e-12 and np.ptp(b) <= 1e-12)
    return float(a @ b) / norm


def spearman(a: Map, b: Map) -> float:
    """Correlation of ranks, tied pixels with the mean of their ranks."""
    return correlation(_ranks(a), _ranks(b))


def hog_correlation(a: Map, b: Map) -> float:
    """Pearson correlation of the histograms of oriented gradients, 9 orientations, 16 x 16 cells.

    Blocks are 3 x 3 cells, so maps must have 48 pixels a side or more.

    Raises:
        ValueError: If the maps are smaller.

    Source: Bansal et al. 2020 (SAM).
    """
    if min(a.shape) < 48:
        raise ValueError(f"HOG needs maps of 48 x 48 pixels or more, got {a.shape}")
    cells = {"pixels_per_cell": (16, 16), "orientations": 9, "cells_per_block": (3, 3)}
    return correlation(hog(a, **cells), hog(b, **cells))


def ssim(a: Map, b: Map, data_range: float = 2.0) -> float:
    """Structural similarity in 5 x 5 windows.

    Args:
        a: A map.
        b: The other.
        data_range: Width of the interval in which the maps lie; 2 for [-1, 1].

    Source: Wang et al. 2004; window and range as in the code of Bansal et al. 2020 (SAM).
    """
    similarity = structural_similarity(a, b, win_size=5, data_range=data_range)  # type: ignore[no-untyped-call]
    return float(similarity)


def _ranks(a: Map) -> Map:
    """(h * w) ranks from 1, equal values with the mean of theirs."""
    _, which, counts = np.unique(a, return_inverse=True, return_counts=True)
    ranks: Map = (np.cumsum(counts) - (counts - 1) / 2)[which.ravel()]
    return ranks
