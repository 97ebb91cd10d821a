"""Any image file as 8-bit RGB, the right way up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class UnreadableImageError(ValueError):
    """A file that is not there or cannot be read as an image; the message names it."""


def open_photo(path: Path) -> Image.Image:
    """Read a photo as 8-bit RGB: EXIF rotation applied, transparency laid over white.

    Raises:
        UnreadableImageError: If there is no such file, or it is no image or a truncated one.
    """
    try:
        with Image.open(path) as file:
            file.load()
            return to_rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError as error:
        raise UnreadableImageError(f"no image file at {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"cannot read {path} as an image: {error}") from error


def to_rgb(photo: Image.Image) -> Image.Image:
    """RGB of any Pillow mode."""
    if photo.mode.startswith("I") or photo.mode == "F":
        values = np.asarray(photo, dtype=np.float64)
        # 16-bit files arrive as I;16 or I; float files are taken to span [0, 1] or [0, 255].
        top = 65535 if photo.mode.startswith("I") else (1 if values.max() <= 1 else 255)
        photo = Image.fromarray(np.uint8(np.clip(np.round(values * 255 / top), 0, 255)))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return photo.convert("RGB")
