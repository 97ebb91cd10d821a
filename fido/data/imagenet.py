"""The ImageNet validation set with its official boxes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from fido.data.base import Entry, PhotoSource
from fido.data.listing import photo_files


class ImageNetValidation(PhotoSource):
    """ILSVRC2012 validation JPEGs and Kaggle's `LOC_val_solution.csv`.

    Args:
        root: Folder of the 50,000 JPEGs, flat or in one folder a class.
        boxes: Path of `LOC_val_solution.csv`: ImageId and, for each object, its wnid and four
            pixel coordinates.
        **photos: See `PhotoSource`.
    """

    def __init__(self, root: str, boxes: str, **photos: Any) -> None:
        super().__init__(**photos)
        self.root = Path(root).expanduser()
        self.boxes = Path(boxes).expanduser()

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`; ordered by image id."""
        if not self.root.is_dir():
            raise FileNotFoundError(f"data.root={self.root}: no such folder")
        if not self.boxes.is_file():
            raise FileNotFoundError(
                f"data.boxes={self.boxes}: no such file; expected Kaggle's LOC_val_solution.csv"
            )
        wnids = ImageNetInfo().label_names()  # type: ignore[no-untyped-call]
        index_of = {wnid: index for index, wnid in enumerate(wnids)}
        files = {path.stem: path for path in photo_files(self.root, (".jpeg",))}
        with self.boxes.open(newline="", encoding="utf-8-sig") as lines:
            rows = sorted(csv.DictReader(lines), key=lambda row: row["ImageId"])
        entries = []
        for row in rows:
            words = row["PredictionString"].split()
            if len(words) < 5 or len(words) % 5:
                raise ValueError(f"{self.boxes}: {row['ImageId']} has {len(words)} words, not 5 n")
            corners = tuple(
                (float(words[i + 1]), float(words[i + 2]), float(words[i + 3]), float(words[i + 4]))
                for i in range(0, len(words), 5)
            )
            if not all(0 <= a < c and 0 <= b < d for a, b, c, d in corners):
                raise ValueError(
                    f"{self.boxes}: {row['ImageId']} has a box that is none; expected pixels, "
                    "0 <= xmin < xmax and 0 <= ymin < ymax"
                )
            if words[0] not in index_of:
                raise ValueError(f"{self.boxes}: {words[0]} is no ImageNet-1k class")
            if row["ImageId"] in files:
                entries.append(
                    Entry(row["ImageId"], files[row["ImageId"]], index_of[words[0]], corners)
                )
        if not entries:
            raise FileNotFoundError(f"data.root={self.root}: none of the JPEGs in {self.boxes}")
        return entries
