"""Generated images with known factors: a coloured square at one of 16 places on grey."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fido.data.base import Entry, PhotoSource

SIDE, SQUARE = 16, 4
GREYS = (0, 26, 51, 77, 102)
"""Grey levels of the background, of 255."""
COLOURS = {
    "green": (83, 173, 83),
    "lime": (128, 173, 83),
    "cyan": (83, 173, 173),
    "red": (173, 83, 83),
    "orange": (173, 128, 83),
    "magenta": (173, 83, 173),
}
"""Three colours with more green than red, label 0, and three with more red, label 1."""


class Factors(NamedTuple):
    """What an image of squares is made of.

    Attributes:
        row: Of the square, 0 to 3 from the top.
        column: Of the square, 0 to 3 from the left.
        grey: Index into `GREYS`.
        colour: Name in `COLOURS`.
    """

    row: int
    column: int
    grey: int
    colour: str

    @property
    def label(self) -> int:
        """1 if the square is more red than green, else 0."""
        red, green, _ = COLOURS[self.colour]
        return int(red > green)

    def pixels(self) -> np.ndarray:
        """(16, 16, 3) uint8."""
        image = np.full((SIDE, SIDE, 3), GREYS[self.grey], np.uint8)
        top, left = self.row * SQUARE, self.column * SQUARE
        image[top : top + SQUARE, left : left + SQUARE] = COLOURS[self.colour]
        return image


ALL = [Factors(*each) for each in product(range(4), range(4), range(len(GREYS)), COLOURS)]
"""The factors of all 480 images."""


def nearest_factors(image: Tensor) -> Factors:
    """The factors of the image of squares that is nearest to a given one, (3, 16, 16) in [0, 1]."""
    pixels = np.stack([factors.pixels() for factors in ALL])
    known = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return ALL[int((known - image).square().sum((1, 2, 3)).argmin())]


class Squares(PhotoSource):
    """All 480 images of 16 x 16 pixels, with the square as box and its side of red as label.

    An id names the factors, "square_r1_c2_g3_red" for instance. A classifier that compares red
    with green is right about all of them, and the one factor that a counterfactual has to change
    is the colour.
    """

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`."""
        return [Entry(_name(each), Path(_name(each)), each.label, (_box(each),)) for each in ALL]

    def open(self, entry: Entry) -> Image.Image:
        """See `PhotoSource.open`; nothing is read."""
        return Image.fromarray({_name(each): each for each in ALL}[entry.id].pixels())


def _name(factors: Factors) -> str:
    return f"square_r{factors.row}_c{factors.column}_g{factors.grey}_{factors.colour}"


def _box(factors: Factors) -> tuple[float, float, float, float]:
    left, top = factors.column * SQUARE, factors.row * SQUARE
    return left, top, left + SQUARE, top + SQUARE
