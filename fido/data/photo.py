"""Any image file as 8-bit RGB, the right way up: the one reader of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from fido.data.deep_colour import DeepPixels, deep_pixels
from fido.data.depth import Range, eight_bits
from fido.data.formats import DICOM, HEIC, advice, missing_extra, open_dicom, open_heic


class UnreadableImageError(ValueError):
    """A file that is not there or cannot be read as an image; the message names it."""


def open_photo(path: Path, range: Range = "auto") -> Image.Image:
    """Read a photo as 8-bit RGB: EXIF rotation applied, transparency laid over white.

    Args:
        path: Any format of Pillow; HEIC and DICOM with their extras.
        range: Which values of images of more than 8 bits are black and white; see
            `fido.data.depth.limits`.

    Raises:
        UnreadableImageError: If there is no such file, it is no image, a truncated one, or one of
            so many pixels that it may be an attack (Pillow's limit).
        ValueError: If `range` cannot be read.
    """
    suffix = path.suffix.lower()
    extra = missing_extra(suffix)
    if extra is not None and path.is_file():
        raise UnreadableImageError(f"cannot read {path}: {suffix} needs {advice(extra)}")
    if range != "auto":
        eight_bits(np.zeros(1), range)  # a wrong setting is no fault of the file
    try:
        if suffix in DICOM:
            return open_dicom(path, range)
        deep = None if suffix in HEIC else deep_pixels(path)
        if deep is not None:
            return _shallow(deep, range, path.name)
        with open_heic(path) if suffix in HEIC else Image.open(path) as file:
            file.load()
            return to_rgb(ImageOps.exif_transpose(file), range, path.name)
    except FileNotFoundError as error:
        raise UnreadableImageError(f"no image file at {path}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{path} is too large to be read: {error}; make it smaller first"
        ) from error
    except Exception as error:  # every decoder has its own; all mean the same here
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(f"cannot read {path} as an image: {reason}") from error


def _shallow(deep: DeepPixels, range: Range, name: str) -> Image.Image:
    """Deep pixels as 8-bit RGB, upright."""
    values = eight_bits(deep.values, range, name)
    photo = Image.fromarray(255 - values if deep.inverted else values).convert("RGB")
    if deep.alpha is not None:
        photo.putalpha(Image.fromarray(np.round(deep.alpha * 255).astype(np.uint8)))
    photo.getexif()[ExifTags.Base.Orientation] = deep.orientation
    return to_rgb(ImageOps.exif_transpose(photo))


def to_rgb(photo: Image.Image, range: Range = "auto", name: str = "") -> Image.Image:
    """RGB of any Pillow mode.

    Args:
        photo: The image.
        range: See `open_photo`.
        name: Of the file, for what is said about its range.
    """
    if photo.mode.startswith("I") or photo.mode == "F":
        values = np.asarray(photo)
        photo = Image.fromarray(eight_bits(values, range, name))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return photo.convert("RGB")
