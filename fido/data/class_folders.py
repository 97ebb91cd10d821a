"""Labelled photos in one folder a class."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from fido.data.base import Entry, PhotoSource, unique_ids
from fido.data.formats import without_missing_extras
from fido.data.listing import photo_files

log = logging.getLogger(__name__)


class ClassFolders(PhotoSource):
    """`root/CLASS/**/photo`, the layout of torchvision's `ImageFolder`.

    A folder is a class of the classifier by its name (case, blanks and underscores do not matter),
    its index, or its WordNet id where the classifier's classes are ImageNet's. Where none of the
    folders is, and there are as many as classes, they are the classes in alphabetical order, as
    in torchvision, and the log says so.

    Args:
        root: The folder of folders.
        class_names: The classifier's.
        **photos: See `PhotoSource`.
    """

    def __init__(self, root: str, class_names: Sequence[str], **photos: Any) -> None:
        super().__init__(**photos)
        self.root = Path(root).expanduser()
        self.class_names = list(class_names)

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`; sorted by path.

        Raises:
            ValueError: If a photo is in no folder, or a folder is no class of the classifier.
        """
        if not self.root.is_dir():
            raise FileNotFoundError(f"data.root={self.root}: no such folder")
        files = without_missing_extras(photo_files(self.root))
        if not files:
            raise FileNotFoundError(f"data.root={self.root}: no image files there")
        depth = len(self.root.parts)
        loose = [file.name for file in files if len(file.parts) < depth + 2]
        if loose:
            raise ValueError(
                f"data.root={self.root}: {loose[0]} is in no folder of a class; expected "
                f"{self.root}/CLASS/{loose[0]}, or data=folder for photos without labels"
            )
        folders = [file.parts[depth] for file in files]
        labels = class_indices(sorted(set(folders)), self.class_names)
        return [
            Entry(image_id, file, labels[folder])
            for file, folder, image_id in zip(files, folders, unique_ids(files, depth), strict=True)
        ]


def class_indices(folders: Sequence[str], class_names: Sequence[str]) -> dict[str, int]:
    """The class index of every folder; see `ClassFolders`.

    Raises:
        ValueError: Names the first folder that is no class.
    """
    known = {_plain(name): index for index, name in enumerate(class_names)}
    often = Counter(map(_plain, class_names))
    wnids: list[str] = []
    if len(class_names) == 1000:
        wnids = ImageNetInfo().label_names()  # type: ignore[no-untyped-call]
    found: dict[str, int] = {}
    for folder in folders:
        if often[_plain(folder)] > 1:
            several = [i for i, name in enumerate(class_names) if _plain(name) == _plain(folder)]
            raise ValueError(
                f"folder {folder!r} stands for several classes of this classifier; name it by an "
                f"index, one of {', '.join(map(str, several))}"
            )
        if _plain(folder) in known:
            found[folder] = known[_plain(folder)]
        elif folder.isdecimal() and int(folder) < len(class_names):
            found[folder] = int(folder)
        elif folder in wnids:
            found[folder] = wnids.index(folder)
    unknown = [folder for folder in folders if folder not in found]
    if unknown and not found and len(folders) == len(class_names):
        log.warning(
            "folders are called otherwise than the classes; they are taken in alphabetical order, "
            "%s as %s and so on",
            folders[0],
            class_names[0],
        )
        return {folder: index for index, folder in enumerate(folders)}
    if unknown:
        near = difflib.get_close_matches(_plain(unknown[0]), known, n=3)
        names = [class_names[known[name]] for name in near] or list(class_names[:8])
        raise ValueError(
            f"folder {unknown[0]!r} is no class of this classifier; name it after a class "
            f"({', '.join(names)}), its index or its WordNet id"
        )
    return found


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
