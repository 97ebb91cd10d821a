"""How far two images are apart, pixel by pixel, whatever their size."""

from __future__ import annotations

from torch import Tensor


def lp_distance(a: Tensor, b: Tensor, p: float) -> Tensor:
    """(n,) `mean(|a - b|^p)^(1/p)` over pixels and colours: p = 1 the mean, p = 2 the RMS change.

    The length of the difference as a vector, as papers give it, is this times `(3 h w)^(1/p)`.

    Args:
        a: (n, 3, h, w) in [0, 1].
        b: The same.
        p: 1 or more; infinity gives the largest change.

    Raises:
        ValueError: If p is below 1.
    """
    if not p >= 1:
        raise ValueError(f"p must be 1 or more, got {p}")
    change = (a.double() - b.double()).abs().flatten(1)
    if p == float("inf"):
        return change.amax(1)
    return change.pow(p).mean(1).pow(1 / p)


def changed_area(a: Tensor, b: Tensor, levels: float) -> Tensor:
    """(n,) share of the pixels of which a colour changes by at least so many grey levels of 255.

    Args:
        a: (n, 3, h, w) in [0, 1].
        b: The same.
        levels: Above 0.

    Raises:
        ValueError: If `levels` is not above 0.
    """
    if levels <= 0:
        raise ValueError(f"levels must be above 0, got {levels}")
    change = (a.double() - b.double()).abs().amax(1) * 255
    return (change >= levels - 1e-3).double().mean((1, 2))
