"""A folder of labelled images with object boxes in one CSV file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fido.data.base import Entry, PhotoSource, unique_ids
from fido.data.listing import inside
from fido.data.tables import read_table, whole_number

COLUMNS = ("file", "class_index", "xmin", "ymin", "xmax", "ymax")
ROUNDING = 1e-3
"""Sides beyond the image by so little come of rounding, and are cut."""


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
        for line, row in read_table(table, COLUMNS):
            try:
                corners = _corners(row)
                label = whole_number(row["class_index"])
                inside(self.root / "images", row["file"])
                file = Path(row["file"]).as_posix()  # "./a.png" is "a.png"
                if labels.setdefault(file, label) != label:
                    raise ValueError(f"class {label} of a file of class {labels[file]}")
            except ValueError as error:
                raise ValueError(f"{table}, line {line}: {error}") from error
            boxes[file].append(corners)
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


def _corners(row: Mapping[str, str]) -> tuple[float, float, float, float]:
    """The box of a line.

    Raises:
        ValueError: If the line is too short, or the box is no part of an image.
    """
    empty = [name for name in COLUMNS if not row[name]]
    if empty:
        raise ValueError(f"no {empty[0]}, expected {len(COLUMNS)} values")
    left, top, right, bottom = (_number(row[name]) for name in COLUMNS[2:])
    inside = all(0 <= side <= 1 + ROUNDING for side in (left, top, right, bottom))
    if not (inside and left < right and top < bottom):  # so written that NaN is refused too
        raise ValueError(
            f"box {left:g}, {top:g}, {right:g}, {bottom:g}: expected fractions of the image's "
            "sides, 0 <= xmin < xmax <= 1 and 0 <= ymin < ymax <= 1; divide pixels by width and "
            "height"
        )
    return left, top, min(right, 1.0), min(bottom, 1.0)


def _number(text: str) -> float:
    if "_" in text:  # Python's own way to write 1_000
        raise ValueError(f"could not convert string to float: {text!r}")
    return float(text)
