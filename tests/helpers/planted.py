"""A classifier whose evidence is known: its log-odds is the brightness of one box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.black_box import Function
from fido.records import Sample

BOX = (8, 12, 20, 28)  # left, top, right, bottom in pixels

PLANTED = (
    "classifier=custom",
    "classifier.network._target_=planted.BoxBrightness",
    "classifier.size=[40,48]",
    "classifier.mean=[0,0,0]",
    "classifier.std=[1,1,1]",
    "classifier.class_names=[dark,bright]",
    "classifier.crop_fraction=1.0",
)
"""The box classifier on a command line; `tests` must be on the module path."""


class BoxBrightness(nn.Module):
    """Two classes; the log-odds of class 1 is `gain * (mean of the box - 1/2)`."""

    def __init__(self, box: tuple[int, int, int, int] = BOX, gain: float = 20.0) -> None:
        super().__init__()
        self.box = box
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        left, top, right, bottom = self.box
        score = self.gain * (x[:, :, top:bottom, left:right].mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(score), score], 1)


def brightness_function(box: tuple[int, int, int, int] = BOX, gain: float = 20.0) -> Function:
    """`BoxBrightness` as a function from images to probabilities, in numpy."""
    left, top, right, bottom = box

    def brightness(images: NDArray[np.float32]) -> NDArray[np.float32]:
        score = gain * (images[:, :, top:bottom, left:right].mean((1, 2, 3)) - 0.5)
        bright = 1 / (1 + np.exp(-score))
        return np.stack([1 - bright, bright], 1)

    return brightness


def planted_classifier(
    size: tuple[int, int] = (40, 48), box: tuple[int, int, int, int] = BOX, gain: float = 20.0
) -> Classifier:
    """The box classifier without normalisation, at a size that is not square."""
    return Classifier(
        BoxBrightness(box, gain),
        size=size,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        class_names=["dark", "bright"],
    )


def planted_sample(
    size: tuple[int, int] = (40, 48),
    box: tuple[int, int, int, int] = BOX,
    image_id: str = "planted",
) -> Sample:
    """Dark grey everywhere with a bright box: class 1 by the box alone."""
    image = torch.full((3, *size), 0.2)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = 0.9
    return Sample(image_id, image, label=1, boxes=torch.tensor([box]).float(), target=1)


def box_region(size: tuple[int, int] = (40, 48), box: tuple[int, int, int, int] = BOX) -> Tensor:
    """(1, h, w) bool: inside the box."""
    region = torch.zeros(1, *size, dtype=torch.bool)
    left, top, right, bottom = box
    region[:, top:bottom, left:right] = True
    return region


def iou(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two bool maps."""
    return float((a & b).sum() / (a | b).sum())


def write_photo(
    path: Path, box: tuple[int, int, int, int] | None = BOX, size: tuple[int, int] = (40, 48)
) -> None:
    """The planted sample as an image file of `size` (h, w); no box leaves it dark."""
    pixels = np.full((*size, 3), 50, np.uint8)
    if box is not None:
        left, top, right, bottom = box
        pixels[top:bottom, left:right] = 230
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
