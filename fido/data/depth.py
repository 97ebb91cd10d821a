"""Pixels of more than 8 bits as 8 bits: which value is black, and which is white."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

Range = str | Sequence[float]
"""See `limits`."""

BITS = (8, 10, 12, 14, 16)
"""Depths of sensors and displays; a file of 16 bits often holds fewer."""

FEW = 1000
"""One of so many pixels may lie outside: resampling overshoots, sensors have hot pixels."""

ROWS = 256
"""Of a photo that are converted at once."""

_said: set[str] = set()


def eight_bits(
    values: npt.NDArray[np.generic], range: Range = "auto", name: str = ""
) -> np.ndarray:
    """(h, w) or (h, w, 3) uint8 of values of any type and range.

    Args:
        values: Pixels; NaN and what is below the range is black, what is above it white.
        range: See `limits`.
        name: Of the file, for what is said about it.
    """
    low, high = limits(values, range, np.issubdtype(values.dtype, np.integer), name)
    grey = np.empty(values.shape, np.uint8)
    # Rows at a time: all of a large photo in 64 bits would be many times its size.
    for first in builtins.range(0, len(values), ROWS):
        rows = np.asarray(values[first : first + ROWS], dtype=np.float64)
        share = (np.nan_to_num(rows, nan=low, posinf=high, neginf=low) - low) / (high - low)
        grey[first : first + ROWS] = np.clip(np.round(share * 255), 0, 255)
    return grey


def limits(
    values: npt.NDArray[Any], range: Range, whole: bool, name: str = ""
) -> tuple[float, float]:
    """The values that are black and white.

    Args:
        values: Pixels of one photo.
        range: "auto", [black, white], or "window/level" as radiologists say it: "400/40" is -160
            to 240. "auto" takes whole numbers by the smallest of 8, 10, 12, 14 and 16 bits that
            holds them, and others as [0, 1], [-1, 1], [0, 255] or by such a depth; what has
            negative values beyond is spread from its smallest to its largest value. All but 16
            bits, [0, 1] and [0, 255] is said in the log, once for a kind.
        whole: Whether the values are whole numbers.
        name: Of the file.

    Raises:
        ValueError: If the range is none of these, or it is "auto" and no pixel is a number.
    """
    if range != "auto":
        return _given(range)
    finite = values.ravel() if whole else values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError("no pixel is a finite number")
    outside = finite.size // FEW
    ordered = np.partition(finite, [outside, finite.size - 1 - outside])
    low, high = float(ordered[outside]), float(ordered[finite.size - 1 - outside])
    if low < (0 if whole else -0.01):
        if not whole and low >= -1.01 and high <= 1.01:
            _say("values of -1 to 1", name, "-1 black and 1 white")
            return -1.0, 1.0
        low, high = float(finite.min()), float(finite.max())
        _say("negative values", name, f"{low:g} black and {high:g} white, in every photo its own")
        return low, max(high, low + 1)
    if not whole and high <= 1.01:
        return 0.0, 1.0
    depth = next((bits for bits in BITS if high <= 2**bits - 1 + (not whole)), None)
    if depth is None:
        _say("values beyond 16 bits", name, f"0 black and {high:g} white, in every photo its own")
        return 0.0, high
    if depth != (16 if whole else 8):
        _say(f"values of {depth} bits", name, f"0 black and {2**depth - 1} white")
    return 0.0, float(2**depth - 1)


def _given(range: Range) -> tuple[float, float]:
    words = [str(word) for word in (range.split("/") if isinstance(range, str) else range)]
    try:
        first, second = (float(word) for word in words)
    except ValueError:
        first, second = 0.0, 0.0
    if isinstance(range, str) and first > 0:
        return second - first / 2, second + first / 2
    if isinstance(range, str) or not first < second:
        raise ValueError(
            f"data.range={range}: expected auto, [BLACK,WHITE] with the smaller value first, or "
            "WINDOW/LEVEL such as 400/40"
        )
    return first, second


def _say(kind: str, name: str, taken: str) -> None:
    if kind not in _said:
        _said.add(kind)
        log.warning(
            "%s: a deep image with %s, taken as %s; data.range=[BLACK,WHITE] or WINDOW/LEVEL takes "
            "it otherwise",
            name or "an image",
            kind,
            taken,
        )
