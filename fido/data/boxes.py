"""A folder of labelled images with object boxes in one CSV file."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from fido.data.base import Entry, PhotoSource, unique_ids
from fido.data.listing import inside

COLUMNS = ("file", "class_index", "xmin", "ymin", "xmax", "ymax")


class BoxedPhotos(PhotoSource):
    """`root/images/*` with `root/boxes.csv`, a line a box.

    Columns: file, class_index, xmin, ymin, xmax, ymax; coordinates are fractions of the image's
    sides. Ids are file names without suffix; see `unique_ids`.

    Args:
        root: The folder.
        **photos: See `PhotoSource`.
    """

    def __init__(self, root: str, **photos: Any) -> None:
        super().__init__(**photos)
        self.root = Path(root).expanduser()

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`; in the order in which the CSV first names the files."""
        table = self.root / "boxes.csv"
        if not table.is_file():
            raise FileNotFoundError(
                f"data.root={self.root}: expected {table} and {self.root}/images"
            )
        boxes: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
        labels: dict[str, int] = {}
        with table.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise ValueError(
                    f"{table}: no column {missing[0]!r}, expected {', '.join(COLUMNS)}"
                )
            for row in reader:
                try:
                    corners = tuple(float(row[name]) for name in COLUMNS[2:])
                    labels[row["file"]] = int(row["class_index"])
                    inside(self.root / "images", row["file"])
                except ValueError as error:
                    raise ValueError(f"{table}, line {reader.line_num}: {error}") from error
                boxes[row["file"]].append(corners)  # type: ignore[arg-type]
        ids = unique_ids([Path(file) for file in labels])
        return [
            Entry(
                image_id,
                self.root / "images" / file,
                labels[file],
                tuple(boxes[file]),
                "fraction",
            )
            for image_id, file in zip(ids, labels, strict=True)
        ]
