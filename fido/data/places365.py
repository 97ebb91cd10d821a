"""The Places365-Standard validation set: scenes with a label and no boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fido.data.base import Entry, PhotoSource, unique_ids

CLASSES = 365
_WHERE = "of the project Places365 (places2.csail.mit.edu, Places365-Standard)"


class Places365Validation(PhotoSource):
    """Validation JPEGs and the project's list of their labels.

    Args:
        root: Folder of the 36,500 JPEGs, `val_256` or `val_large`.
        labels: Path of `places365_val.txt`: a line an image, file name and class index.
        **photos: See `PhotoSource`.
    """

    def __init__(self, root: str, labels: str, **photos: Any) -> None:
        super().__init__(**photos)
        self.root = Path(root).expanduser()
        self.labels = Path(labels).expanduser()

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`; in the list's order, the images that are there."""
        if not self.labels.is_file():
            raise FileNotFoundError(
                f"data.labels={self.labels}: no such file; take places365_val.txt from "
                f"filelist_places365-standard.tar {_WHERE} and place it there"
            )
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"data.root={self.root}: no such folder; unpack val_256.tar or val_large.tar "
                f"{_WHERE} and place the folder of the JPEGs there"
            )
        names = {path.name for path in self.root.iterdir()}
        listed = {name: label for name, label in self._listed().items() if name in names}
        ids = unique_ids([Path(name) for name in listed])
        entries = [
            Entry(image_id, self.root / name, label)
            for image_id, (name, label) in zip(ids, listed.items(), strict=True)
        ]
        if not entries:
            raise FileNotFoundError(f"data.root={self.root}: none of the JPEGs in {self.labels}")
        return entries

    def _listed(self) -> dict[str, int]:
        """File name to class index."""
        listed: dict[str, int] = {}
        lines = self.labels.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if len(words) != 2 or not words[1].isdigit() or int(words[1]) >= CLASSES:
                raise ValueError(
                    f"{self.labels}, line {number}: expected a file name and a class index below "
                    f"{CLASSES}, got {line!r}"
                )
            if listed.setdefault(words[0].lstrip("/"), int(words[1])) != int(words[1]):
                raise ValueError(f"{self.labels}, line {number}: another class of {words[0]!r}")
        return listed
