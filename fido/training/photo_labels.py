"""Where the class of a training photo comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fido.data.tables import read_table

RULES = "folder (the folder it lies in), prefix (its name up to the first '_') or the path of a CSV"


def photo_labels(files: Sequence[Path], labels: str | None) -> list[str | None]:
    """The label of every photo, None where it has none.

    Args:
        files: Photos.
        labels: "folder": the name of the folder that a file lies in. "prefix": the file's name up
            to the first "_", as in n01440764_10026.JPEG. The path of a CSV table with the columns
            `file` (a name with or without suffix) and `label`. None: no photo has a label.

    Raises:
        ValueError: If the rule does not exist, or a table lacks a column.
        FileNotFoundError: If there is no such table.
    """
    if labels is None:
        return [None] * len(files)
    if labels == "folder":
        return [file.parent.name for file in files]
    if labels == "prefix":
        return [file.stem.partition("_")[0] for file in files]
    if not labels.endswith(".csv"):
        raise ValueError(f"photos.labels must be {RULES}, got {labels!r}")
    table = Path(labels).expanduser()
    if not table.is_file():
        raise FileNotFoundError(f"photos.labels={labels}: no such file")
    known = {
        Path(row["file"]).stem: row["label"] for _, row in read_table(table, ("file", "label"))
    }
    return [known.get(file.stem) for file in files]
