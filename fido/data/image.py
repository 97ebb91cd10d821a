"""One image, in any form in which people have it, as a tensor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fido.data.geometry import Geometry
from fido.data.photo import open_photo, to_rgb
from fido.records import unit_pixels

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
"""What `load_image` accepts."""


def load_image(
    image: ImageLike,
    size: int | tuple[int, int] | None = None,
    crop_fraction: float = 1.0,
    interpolation: str = "bilinear",
    resize: str = "keep_aspect",
) -> Tensor:
    """Read an image and bring it to a size.

    Args:
        image: A file's path (EXIF rotation applied, transparency laid over white), a PIL image, or
            pixels: a NumPy array or tensor of shape (3, h, w) or (h, w, 3), or a batch of one of
            them; uint8, or floating point in [0, 1].
        size: Height and width of the result in pixels; one number means a square; None keeps the
            image's own. Floating-point pixels are rounded to 8 bits before they are resized.
        crop_fraction: Share of the sides that the central crop keeps, in (0, 1]; see `Geometry`.
            Used with `size` only, as the two below.
        interpolation: "bilinear", "bicubic" or "lanczos", always antialiased.
        resize: "keep_aspect", "squash", "squash_crop" or "letterbox"; see `Geometry`.

    Returns:
        (3, h, w) float32 RGB in [0, 1].

    Raises:
        UnreadableImageError: If the file is not there or is not an image.
        ValueError: If pixels have another shape, type or range, or an option does not exist.
        TypeError: If `image` is none of the above.

    Example:
        >>> import numpy as np
        >>> from fido import load_image
        >>> pixels = np.zeros((48, 64, 3), np.uint8)
        >>> load_image(pixels).shape
        torch.Size([3, 48, 64])
        >>> load_image(pixels, size=32).shape
        torch.Size([3, 32, 32])
    """
    if isinstance(image, str | os.PathLike):
        photo = open_photo(Path(image))
    elif isinstance(image, Image.Image):
        photo = to_rgb(ImageOps.exif_transpose(image))
    elif isinstance(image, np.ndarray | Tensor):
        pixels = pixels_of(image)
        if size is None:
            return pixels
        photo = Image.fromarray(pixels.mul(255).round().byte().permute(1, 2, 0).numpy())
    else:
        raise TypeError(
            "an image is a path, a PIL image, a NumPy array or a tensor, "
            f"got {type(image).__name__}"
        )
    if size is None:
        return pixels_of(np.array(photo))
    h, w = (size, size) if isinstance(size, int) else size
    return Geometry((h, w), resize, crop_fraction, interpolation).image(photo)


def pixels_of(image: np.ndarray | Tensor) -> Tensor:
    """Check the pixels of one image and bring them to (3, h, w) float32 in [0, 1], on the CPU.

    Args:
        image: (3, h, w), (h, w, 3), (1, 3, h, w) or (1, h, w, 3); uint8 in 0 to 255, or floating
            point in [0, 1].

    Raises:
        ValueError: If shape, type or range is another; says what to do.
    """
    # A copy in either case: what the user does with the pixels later changes nothing here.
    pixels = _own(image)
    if pixels.ndim == 4:
        if len(pixels) != 1:
            raise ValueError(
                f"one image is expected, got a batch of {len(pixels)}; call once for every image"
            )
        pixels = pixels[0]
    pixels = _channels_first(pixels)
    return unit_pixels(pixels)


def _own(image: np.ndarray | Tensor) -> Tensor:
    """A copy on the CPU, dense and in this machine's byte order."""
    if isinstance(image, Tensor):
        if image.is_meta:
            raise ValueError("a tensor of the device meta has no pixels")
        return image.detach().to_dense().cpu().clone()
    if np.ma.is_masked(image):
        raise ValueError("pixels of a masked array are missing: give them a colour, image.filled()")
    return torch.tensor(image.astype(image.dtype.newbyteorder("=")))


def _channels_first(pixels: Tensor) -> Tensor:
    """(3, h, w) or (h, w, 3) -> (3, h, w)."""
    shape = tuple(pixels.shape)
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise ValueError(f"an image must be RGB, (3, h, w) or (h, w, 3), got shape {shape}")
    if shape[0] == shape[2]:
        raise ValueError(
            f"shape {shape} may be (3, h, w) or (h, w, 3): images 3 pixels wide are not taken"
        )
    return (pixels if shape[0] == 3 else pixels.permute(2, 0, 1)).contiguous()
