"""Your own photos: a file, a pattern, or a folder."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from fido.data.base import Entry, PhotoSource, unique_ids
from fido.data.formats import without_missing_extras
from fido.data.listing import has_photo_suffix, photo_files


class FolderPhotos(PhotoSource):
    """Images found under a path, without labels.

    Ids are file names without suffix, with folders below the root joined by "__"; see `unique_ids`.

    Args:
        path: One image file, a pattern with wildcards, or a folder that is searched to its depths;
            see `photo_files`.
        root: The same for a folder, under the name that other sources use.
        **photos: See `PhotoSource`.

    Raises:
        ValueError: If none or both of `path` and `root` are given.
    """

    def __init__(self, path: str | None = None, root: str | None = None, **photos: Any) -> None:
        super().__init__(**photos)
        given = [one for one in (path, root) if one is not None]
        if len(given) != 1:
            raise ValueError(
                "data=folder needs data.path=PHOTO, PATTERN or FOLDER, or data.root=FOLDER, "
                f"got path {path} and root {root}"
            )
        self.path = given[0]
        self.key = "data.root" if path is None else "data.path"

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`; sorted by path."""
        path = Path(os.path.expanduser(self.path))
        if path.is_file():
            return [Entry(path.stem, path)]
        if path.is_dir():
            root = path
            files = photo_files(path)
        elif glob.has_magic(self.path):
            matches = [Path(f) for f in glob.glob(str(path), recursive=True)]
            # A pattern that gives the suffix ("*.heic") says itself what a photo is.
            any_suffix = glob.has_magic(path.suffix or "*")
            files = [
                f for f in matches if f.is_file() and not (any_suffix and not has_photo_suffix(f))
            ]
            files.sort()
            root = _common_parent(files) if files else path
        else:
            raise FileNotFoundError(f"{self.key}={self.path}: no such file or folder")
        files = without_missing_extras(files)
        if not files:
            raise FileNotFoundError(f"{self.key}={self.path}: no image files there")
        ids = unique_ids(files, len(root.parts))
        return [Entry(image_id, file) for image_id, file in zip(ids, files, strict=True)]


def _common_parent(files: list[Path]) -> Path:
    return Path(os.path.commonpath([f.parent for f in files]))
