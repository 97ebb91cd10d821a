"""Resize and crop a photo and its boxes to the size of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

RESIZE = ("keep_aspect", "squash", "squash_crop", "letterbox")
BORDER = (124, 116, 104)
"""Colour around a photo in a letterbox: ImageNet's mean, which most networks see as 0."""
INTERPOLATION = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """Cut a rectangle out of a photo and resize it to the classifier's size in one step.

    Args:
        size: (h, w) of the result in pixels.
        resize: "keep_aspect" takes the largest central rectangle of the result's aspect ratio,
            shrunk by `crop_fraction`; "squash" takes the whole photo and gives up its aspect ratio;
            "squash_crop" squashes, then crops to `crop_fraction` of both sides; "letterbox" takes
            the whole photo with its aspect ratio and fills the rest with grey.
        crop_fraction: Share of the sides that the central crop keeps, in (0, 1]; 224 / 256 is
            "resize the short side to 256, crop 224". Not used by "squash" and "letterbox".
        interpolation: "bilinear", "bicubic" or "lanczos", always antialiased.

    Raises:
        ValueError: If an argument is not one of these.
    """

    size: tuple[int, int]
    resize: str = "keep_aspect"
    crop_fraction: float = 0.875
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.resize not in RESIZE:
            raise ValueError(f"data.resize must be one of {', '.join(RESIZE)}, got {self.resize!r}")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must lie in (0, 1], got {self.crop_fraction}")
        if self.interpolation not in INTERPOLATION:
            raise ValueError(
                f"interpolation must be one of {', '.join(INTERPOLATION)}, "
                f"got {self.interpolation!r}"
            )

    def rectangle(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the part of a photo that is taken, in its pixels.

        A letterbox reaches beyond the photo.
        """
        if self.resize == "squash":
            return 0.0, 0.0, float(width), float(height)
        if self.resize == "squash_crop":
            left, top = (side * (1 - self.crop_fraction) / 2 for side in (width, height))
            return left, top, width - left, height - top
        h, w = self.size
        if self.resize == "letterbox":
            pixels_each = max(width / w, height / h)
        else:
            pixels_each = min(width / w, height / h) * self.crop_fraction
        left, top = (width - w * pixels_each) / 2, (height - h * pixels_each) / 2
        return left, top, left + w * pixels_each, top + h * pixels_each

    def image(self, photo: Image.Image) -> Tensor:
        """An RGB photo -> (3, h, w) float32 in [0, 1]."""
        h, w = self.size
        method = INTERPOLATION[self.interpolation]
        if self.resize == "letterbox":
            share = min(w / photo.width, h / photo.height)
            inner = max(1, round(photo.width * share)), max(1, round(photo.height * share))
            resized = Image.new("RGB", (w, h), BORDER)
            corner = (w - inner[0]) // 2, (h - inner[1]) // 2
            resized.paste(photo.resize(inner, method), corner)
        else:
            resized = photo.resize((w, h), method, box=self.rectangle(*photo.size))
        pixels = torch.from_numpy(np.array(resized, dtype=np.uint8))
        return pixels.permute(2, 0, 1).contiguous().float().div_(255)

    def boxes(self, boxes: Tensor, width: int, height: int) -> Tensor:
        """Boxes of a (width x height) photo -> boxes of the resized image, clipped to it.

        Args:
            boxes: (n, 4) xmin, ymin, xmax, ymax in pixels of the photo.
            width: Of the photo.
            height: Of the photo.

        Returns:
            (m, 4) in pixels of the result, m <= n: boxes that the crop leaves under one pixel
            wide or high are dropped.
        """
        left, top, right, bottom = self.rectangle(width, height)
        h, w = self.size
        scale = torch.tensor([w / (right - left), h / (bottom - top)]).repeat(2)
        moved = (boxes.float() - torch.tensor([left, top, left, top])) * scale
        moved = moved.clamp(min=torch.zeros(4), max=torch.tensor([w, h, w, h]).float())
        sides = moved[:, 2:] - moved[:, :2]
        return moved[(sides >= 1).all(1)]
