"""Handwritten digits that ship inside scikit-learn; networks train on them in seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fido.data.base import Entry, PhotoSource

SPLITS = ("test", "train", "oracle", "known")


class Digits(PhotoSource):
    """The 1,797 digits of 8 x 8 pixels, white on black; labels are the digits.

    Splits are by position in the data set: of every six digits one is for "test" (300), three to
    "train" a classifier (898), two to train others that judge it, "oracle" (599). "known" is all
    that are not for the test.

    Args:
        size: See `PhotoSource`; (8, 8) leaves the digits as they are.
        split: One of `SPLITS`.
        **arguments: See `PhotoSource`.

    Raises:
        ValueError: If there is no such split.
    """

    def __init__(
        self, size: tuple[int, int] = (8, 8), split: str = "test", **arguments: Any
    ) -> None:
        super().__init__(size, **arguments)
        if split not in SPLITS:
            raise ValueError(f"data.split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.split = split

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`."""
        places = {"test": (0,), "train": (1, 3, 5), "oracle": (2, 4), "known": (1, 2, 3, 4, 5)}
        _, labels = _digits()
        return [
            Entry(name := f"digit_{index:04d}", Path(name), int(label))
            for index, label in enumerate(labels)
            if index % 6 in places[self.split]
        ]

    def open(self, entry: Entry) -> Image.Image:
        """See `PhotoSource.open`."""
        grey = _digits()[0][int(entry.id.removeprefix("digit_"))]
        return Image.fromarray(grey).convert("RGB")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) uint8 grey levels and (1797,) labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    # 17 levels, 0 to 16.
    return (found.images * 255 / 16).round().astype(np.uint8), found.target
