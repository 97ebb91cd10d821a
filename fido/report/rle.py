"""Binary masks as run lengths in the compressed text of COCO's files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def run_lengths(mask: Mask) -> list[int]:
    """Lengths of runs of equal pixels, column by column, the first one of pixels outside.

    Args:
        mask: (h, w) bool.

    Returns:
        Lengths whose sum is h * w; the first is 0 if the first pixel is inside.
    """
    pixels = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    ends = np.concatenate([[0], changes, [mask.size]])
    return [int(length) for length in np.diff(ends)]


def encode(mask: Mask) -> str:
    """A mask (h, w) bool as the text that COCO calls `counts`.

    From the third length on, the difference from the length two before is written. A number takes
    groups of five bits, lowest first, in two's complement; a sixth bit says that another group
    follows; 48 is added to make it a letter.
    """
    lengths = run_lengths(mask)
    letters = []
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            group, number = number & 31, number >> 5
            more = number != (-1 if group & 16 else 0)
            letters.append(chr(48 + group + 32 * more))
    return "".join(letters)


def decode(counts: str, height: int, width: int) -> Mask:
    """The mask (height, width) of a text made by `encode`.

    Raises:
        ValueError: If the lengths do not fill the mask.
    """
    lengths: list[int] = []
    number, shift = 0, 0
    for letter in counts:
        group = ord(letter) - 48
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        number, shift = 0, 0
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise ValueError(f"run lengths for {sum(lengths)} pixels, expected {height} x {width}")
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return pixels.reshape(width, height).T
