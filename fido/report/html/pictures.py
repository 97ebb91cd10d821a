"""Pictures of a report: named by what they show, so that equal ones are written once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fido.runtime.files import atomic_path

THUMBNAIL = 112
"""Longer side of a picture of the gallery in pixels."""

SMALL = 96
"""Up to this longer side JPEG would blur what there is: PNG."""


def write_picture(folder: Path, image: Tensor) -> str:
    """Write a picture to `images/` and its thumbnail to `thumbs/`, unless they are there.

    Args:
        folder: The report's.
        image: (3, h, w), uint8, or in [0, 1].

    Returns:
        The name of both files.
    """
    pixels = image if not image.is_floating_point() else (image.clamp(0, 1) * 255).round()
    array = pixels.permute(1, 2, 0).numpy().astype(np.uint8)
    picture = Image.fromarray(array)
    small = max(picture.size) <= SMALL
    digest = hashlib.sha256(repr(picture.size).encode() + array.tobytes()).hexdigest()[:16]
    name = f"{digest}.{'png' if small else 'jpg'}"
    if not (folder / "thumbs" / name).is_file():
        thumbnail = picture.copy()
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        for place, content in (("images", picture), ("thumbs", thumbnail)):
            _write(folder / place / name, content)
    return name


def _write(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    options = {"quality": 90, "subsampling": 0} if path.suffix == ".jpg" else {}
    picture.save(buffer, format="png" if path.suffix == ".png" else "jpeg", **options)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
