"""The ImageNet validation set with its official boxes."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from fido.data.base import Entry, PhotoSource
from fido.data.listing import photo_files
from fido.data.tables import read_table


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
        files: dict[str, Path] = {}
        for path in photo_files(self.root, (".jpeg",)):
            if files.setdefault(path.stem, path) != path:
                raise ValueError(
                    f"data.root={self.root}: {path.name} is there twice, "
                    f"{files[path.stem]} and {path}"
                )
        entries: dict[str, Entry] = {}
        for line, row in read_table(self.boxes, ("ImageId", "PredictionString")):
            image_id, words = row["ImageId"], row["PredictionString"].split()
            if len(words) < 5 or len(words) % 5:
                raise ValueError(f"{self.boxes}: {image_id} has {len(words)} words, not 5 n")
            try:
                numbers = [float(word) for i, word in enumerate(words) if i % 5]
            except ValueError as error:
                raise ValueError(f"{self.boxes}, line {line}: {error}") from error
            corners = tuple(
                (numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])
                for i in range(0, len(numbers), 4)
            )
            if not all(0 <= a < c < inf and 0 <= b < d < inf for a, b, c, d in corners):
                raise ValueError(
                    f"{self.boxes}: {image_id} has a box that is none; expected pixels, "
                    "0 <= xmin < xmax and 0 <= ymin < ymax"
                )
            if words[0] not in index_of:
                raise ValueError(f"{self.boxes}: {words[0]} is no ImageNet-1k class")
            if image_id in entries:
                raise ValueError(f"{self.boxes}, line {line}: {image_id} for the second time")
            if image_id in files:
                entries[image_id] = Entry(image_id, files[image_id], index_of[words[0]], corners)
        if not entries:
            raise FileNotFoundError(f"data.root={self.root}: none of the JPEGs in {self.boxes}")
        return [entries[image_id] for image_id in sorted(entries)]
