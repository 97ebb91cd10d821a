"""Images whose pixels Pillow cuts to 8 bits or cannot read: deep PNG in colour, and deep TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from tifffile import PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffFileError

from fido.data.formats import most_pixels

TIFF = frozenset((".tif", ".tiff"))

OTHER_BYTE = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if np.little_endian else "L"))
}
"""Raw modes of which Pillow keeps the high byte, to those by which it keeps the low one."""


class DeepPixels(NamedTuple):
    """Pixels as they are in a file.

    Attributes:
        values: (h, w) or (h, w, 3), integers or floating point.
        alpha: (h, w) in [0, 1], 1 is opaque; None where there is none.
        inverted: Whether the smallest value is white.
        orientation: EXIF's, 1 is upright.
    """

    values: npt.NDArray[Any]
    alpha: npt.NDArray[Any] | None = None
    inverted: bool = False
    orientation: int = 1


def deep_pixels(path: Path) -> DeepPixels | None:
    """The pixels of a file with more than 8 bits a colour; None leaves the file to Pillow.

    Raises:
        ValueError: If a TIFF file holds other bands than grey or RGB, with or without alpha.
    """
    found = _tiff(path) if path.suffix.lower() in TIFF else None
    return found or _sixteen_bits(path)


def _tiff(path: Path) -> DeepPixels | None:
    """The first page of a TIFF file, read by tifffile."""
    try:
        with TiffFile(path) as file:
            page: Any = file.pages[0]
            size = page.imagewidth * page.imagelength
            kinds = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB)
            if page.bitspersample <= 8 or page.photometric not in kinds or size > most_pixels():
                return None
            bands, shape, kind = page.samplesperpixel, page.shape, page.dtype
            readable = bands <= 4 and page.imagedepth == 1  # else no memory is taken for it
            values = page.asarray() if readable else np.empty(0)
            planes = page.planarconfig == PLANARCONFIG.SEPARATE and values.ndim == 3
            inverted = page.photometric == PHOTOMETRIC.MINISWHITE
            tag = page.tags.get(ExifTags.Base.Orientation)
            turned = 1 if tag is None else int(tag.value)
    except (TiffFileError, ValueError, ImportError):  # no TIFF, or a compression it cannot read
        return None
    if not readable or values.ndim not in (2, 3) or values.dtype.kind not in "iuf":
        raise ValueError(
            f"it holds {shape} values of type {kind}; expected one picture, grey or RGB, with or "
            "without alpha"
        )
    if planes:
        values = np.moveaxis(values, 0, -1)
    return _split(values)._replace(inverted=inverted, orientation=turned)


def _sixteen_bits(path: Path) -> DeepPixels | None:
    """The 16 bits of colours of which Pillow keeps the high byte: the file is read twice."""
    with Image.open(path) as file:
        raw, turned = _raw_mode(file), int(file.getexif().get(ExifTags.Base.Orientation, 1))
    if raw == "LA;16B":  # four bytes a pixel, so they are read as such
        four = _read(path, "RGBA", "RGBA")
        return _split(four[..., ::2] * 256 + four[..., 1::2])._replace(orientation=turned)
    if raw in OTHER_BYTE:
        mode = raw.partition(";")[0]
        high, low = (_read(path, mode, name) for name in (raw, OTHER_BYTE[raw]))
        return _split(high * 256 + low)._replace(orientation=turned)
    return None


def _raw_mode(file: Image.Image) -> str:
    tiles: Any = getattr(file, "tile", None)
    args = tiles[0][3] if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _read(path: Path, mode: str, raw: str) -> npt.NDArray[np.uint16]:
    with Image.open(path) as opened:
        file: Any = opened
        file._mode = mode
        file.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in file.tile
        ]
        file.load()
        return np.asarray(file).astype(np.uint16)


def _split(values: npt.NDArray[Any]) -> DeepPixels:
    """Colours and alpha of (h, w) or (h, w, 1 to 4)."""
    if values.ndim == 2:
        return DeepPixels(values)
    bands = values.shape[2]
    colours = values[..., :3] if bands > 2 else values[..., 0]
    if bands in (1, 3):
        return DeepPixels(colours)
    whole = np.issubdtype(values.dtype, np.integer)
    opaque = np.iinfo(values.dtype).max if whole else 1.0
    return DeepPixels(colours, np.clip(values[..., -1] / opaque, 0, 1))
