"""Which files of a folder are photos: decided here, for every source."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from fido.data.formats import EXTRAS

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", *EXTRAS)
)


def photo_files(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The photos in a folder and in the folders below it, sorted by path.

    Photos are told by their suffix, in small or capital letters. Folders that are links are
    searched, unless they lead back. Hidden files and folders are left out: macOS puts a
    "._photo.jpg" beside every photo on some disks. A link to a photo that is not there is listed,
    so that it is missed.

    Args:
        folder: Where to begin.
        suffixes: In small letters, with their dots.
    """
    files: list[str] = []
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        about = os.stat(place)
        here, there = (about.st_dev, about.st_ino), above.get(os.path.dirname(place), frozenset())
        if here in there:  # a link to a folder that it is in
            folders.clear()
            continue
        above[place] = there | {here}
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                files.append(os.path.join(place, name))
    return [Path(file) for file in sorted(files) if _may_be_photo(file)]


def has_photo_suffix(path: Path) -> bool:
    """Whether a file's name says that it is a photo."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def inside(folder: Path, name: str) -> Path:
    """The file of a list, which may be somebody else's, in the folder that it speaks of.

    Raises:
        ValueError: If the name is absolute or leads out of the folder.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"file {name!r} is outside of {folder}")
    return folder / path


def _may_be_photo(file: str) -> bool:
    """False for pipes and devices, which would be waited for without end."""
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return True
