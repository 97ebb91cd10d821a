"""Random views of photos for training a classifier, every one from a generator that is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class RandomViews:
    """Random resized crops, mirrored and with jittered colours.

    Args:
        side: Of the views in pixels.
        area: Smallest and largest share of the photo's area that a crop takes, in (0, 1].
        aspect: Largest ratio of a crop's longer side to its shorter one, 1 or more.
        mirror: Probability of swapping left and right.
        colour: Brightness, contrast and saturation are multiplied by factors that are uniform on
            [1 - colour, 1 + colour]; 0 leaves colours as they are.

    Raises:
        ValueError: If an argument is out of range.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", section 6 (the crops).
    """

    side: int
    area: tuple[float, float] = (0.35, 1.0)
    aspect: float = 4 / 3
    mirror: float = 0.5
    colour: float = 0.3

    def __post_init__(self) -> None:
        low, high = self.area
        if not 0 < low <= high <= 1:
            raise ValueError(f"views.area must be two shares in (0, 1], rising; got {self.area}")
        if self.aspect < 1:
            raise ValueError(f"views.aspect must be 1 or more, got {self.aspect}")
        if not 0 <= self.mirror <= 1:
            raise ValueError(f"views.mirror must be a probability, got {self.mirror}")
        if not 0 <= self.colour < 1:
            raise ValueError(f"views.colour must lie in [0, 1), got {self.colour}")

    def __call__(self, photos: np.ndarray, draw: np.random.Generator) -> Tensor:
        """(n, h, w, 3) uint8 photos -> (n, 3, side, side) float32 views in [0, 1]."""
        views = torch.stack([self._crop(photo, draw) for photo in photos])
        mirrored = torch.from_numpy(draw.random(len(photos)) < self.mirror)
        views[mirrored] = views[mirrored].flip(-1)
        if self.colour == 0:
            return views
        factors = draw.uniform(1 - self.colour, 1 + self.colour, (3, len(photos), 1, 1, 1))
        return jitter_colours(views, *torch.from_numpy(factors.astype(np.float32)))

    def _crop(self, photo: np.ndarray, draw: np.random.Generator) -> Tensor:
        height, width = photo.shape[:2]
        root = math.sqrt(draw.uniform(*self.area))
        stretch = math.exp(draw.uniform(-0.5, 0.5) * math.log(self.aspect))
        h = min(height, max(1, round(root * height * stretch)))
        w = min(width, max(1, round(root * width / stretch)))
        top, left = draw.integers(0, height - h + 1), draw.integers(0, width - w + 1)
        part = torch.from_numpy(photo[top : top + h, left : left + w].copy())
        return resized(part.permute(2, 0, 1)[None], self.side)[0]


def resized(images: Tensor, side: int) -> Tensor:
    """(n, 3, h, w) uint8 -> (n, 3, side, side) float32 in [0, 1], bilinear with antialiasing."""
    if images.shape[-2:] == (side, side):
        return images.float() / 255
    scaled = interpolate(
        images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return scaled / 255


def jitter_colours(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor
) -> Tensor:
    """Brightness, contrast about the mean grey and saturation multiplied, clipped to [0, 1].

    Args:
        images: (n, 3, h, w) in [0, 1].
        brightness: (n, 1, 1, 1) factors; 1 changes nothing.
        contrast: (n, 1, 1, 1).
        saturation: (n, 1, 1, 1).
    """
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
    images = images * brightness
    grey = (images * luma).sum(1, keepdim=True)
    images = grey + (images - grey) * saturation
    mean = grey.mean((2, 3), keepdim=True)
    return (mean + (images - mean) * contrast).clamp(0, 1)


@dataclass(frozen=True)
class CutMix:
    """A rectangle of another photo of the batch pasted in, and the labels mixed by area.

    Args:
        probability: Of mixing a batch.
        alpha: Of the symmetric beta distribution of the area that stays; 1 is uniform.

    Raises:
        ValueError: If an argument is out of range.

    Source: Yun et al. 2019, "CutMix", equations 1 and 2.
    """

    probability: float = 0.5
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"mixing.probability must lie in [0, 1], got {self.probability}")
        if self.alpha <= 0:
            raise ValueError(f"mixing.alpha must be above 0, got {self.alpha}")

    def __call__(
        self, images: Tensor, targets: Tensor, draw: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) images and (n, classes) probabilities -> the same, mixed."""
        if draw.random() >= self.probability:
            return images, targets
        partner = torch.from_numpy(draw.permutation(len(images)))
        stays = draw.beta(self.alpha, self.alpha)
        h, w = images.shape[-2:]
        side = math.sqrt(1 - stays)
        y, x = draw.integers(0, h), draw.integers(0, w)
        top, bottom = (int(np.clip(y + sign * side * h / 2, 0, h)) for sign in (-1, 1))
        left, right = (int(np.clip(x + sign * side * w / 2, 0, w)) for sign in (-1, 1))
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = images[partner][..., top:bottom, left:right]
        # The rectangle may be cut off by the border: labels follow what was pasted.
        pasted = (bottom - top) * (right - left) / (h * w)
        return mixed, (1 - pasted) * targets + pasted * targets[partner]
