"""Image formats that need a package of their own: HEIC by pillow-heif, DICOM by pydicom."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from fido.data.depth import Range, eight_bits

log = logging.getLogger(__name__)

HEIC = frozenset((".heic", ".heif"))
DICOM = frozenset((".dcm", ".dicom"))
EXTRAS = {
    **dict.fromkeys(HEIC, ("heic", "pillow_heif")),
    **dict.fromkeys(DICOM, ("dicom", "pydicom")),
}
"""Suffix to the extra that reads it and the package that the extra brings."""


def missing_extra(suffix: str) -> str | None:
    """The extra to install for files of a suffix, if one is needed and is not there."""
    extra, package = EXTRAS.get(suffix.lower(), ("", ""))
    return extra if package and find_spec(package) is None else None


def without_missing_extras(files: Sequence[Path]) -> list[Path]:
    """The files that can be read; how many are left out, and why, stands in the log."""
    lacking = Counter(file.suffix.lower() for file in files if missing_extra(file.suffix))
    for suffix, count in lacking.items():
        extra = str(missing_extra(suffix))
        log.warning("%d files (%s) are left out: %s", count, suffix, advice(extra))
    return [file for file in files if file.suffix.lower() not in lacking]


def advice(extra: str) -> str:
    """How an extra is installed."""
    return f"pip install 'fido-xai[{extra}]'"


def open_heic(path: Path) -> Image.Image:
    """A HEIC file as Pillow's image, for which pillow-heif is told to Pillow first."""
    import_module("pillow_heif").register_heif_opener()
    return Image.open(path)


def open_dicom(path: Path, range: Range = "auto") -> Image.Image:
    """A DICOM file as 8-bit RGB.

    Grey values are brought to their unit (Hounsfield units, say) by the file's rescale slope and
    intercept. With range "auto" the file's own window is taken, if it has one.

    Args:
        path: The file.
        range: See `fido.data.depth.limits`.

    Raises:
        ValueError: If the file holds several pictures.
    """
    pydicom = import_module("pydicom")
    pixels = import_module("pydicom.pixels")
    dataset = pydicom.dcmread(path)
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise ValueError(f"it holds {dataset.NumberOfFrames} frames; give one picture a file")
    if (size := int(dataset.Rows) * int(dataset.Columns)) > most_pixels():
        raise Image.DecompressionBombError(f"{size} pixels, the limit is {most_pixels():.0f}")
    values = dataset.pixel_array
    kind = str(dataset.PhotometricInterpretation)
    if values.ndim == 3:
        colours = pixels.convert_color_space(values, kind, "RGB") if kind != "RGB" else values
        return Image.fromarray(np.asarray(colours, np.uint8))
    if kind == "PALETTE COLOR":
        return Image.fromarray(eight_bits(pixels.apply_color_lut(values, dataset)))
    values = np.asarray(pixels.apply_modality_lut(values, dataset))
    if range == "auto" and "WindowWidth" in dataset and "WindowCenter" in dataset:
        width, centre = (_first(dataset[name].value) for name in ("WindowWidth", "WindowCenter"))
        range = f"{width}/{centre}"
    grey = eight_bits(values, range, path.name)
    return Image.fromarray(255 - grey if kind == "MONOCHROME1" else grey).convert("RGB")


def most_pixels() -> float:
    """Pixels beyond which no image is read; Pillow's limit."""
    return 2 * (Image.MAX_IMAGE_PIXELS or float("inf"))


def _first(value: object) -> float:
    """A file may offer several windows; viewers show the first."""
    several = isinstance(value, list | tuple) or hasattr(value, "__getitem__")
    return float(value[0] if several and not isinstance(value, str) else value)  # type: ignore
