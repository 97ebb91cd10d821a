"""Which class is turned into which: a table of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fido.data.tables import read_table
from fido.runs.target import class_index

Pairs = str | Sequence[Sequence[str | int]]
"""A csv file with the columns source, target and, where there are kinds, kind; or its lines."""


def read_pairs(
    pairs: Pairs | None, class_names: Sequence[str], kind: str | None = None
) -> dict[int, int]:
    """Source class to target class.

    Args:
        pairs: The table; classes are names or indices.
        class_names: Name of every class of the classifier.
        kind: Only lines of this kind ("near", say); None takes all.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there are no pairs, a class does not exist, a class is its own target, or has
            two targets.
    """
    if pairs is None:
        raise ValueError("target=pairs needs target_pairs=FILE.csv with the columns source,target")
    lines = _lines_of(pairs) if isinstance(pairs, str) else [list(line) for line in pairs]
    kinds = list(dict.fromkeys(str(line[2]) for line in lines if len(line) > 2))
    if kind is not None:
        lines = [line for line in lines if len(line) > 2 and str(line[2]) == kind]
        if not lines:
            known = ", ".join(kinds) or "none"
            raise ValueError(f"target_kind={kind}: target_pairs has no such lines; kinds: {known}")
    chosen: dict[int, int] = {}
    for line in lines:
        if len(line) < 2:
            raise ValueError(f"target_pairs: expected source,target[,kind], got {list(line)}")
        source, target = (_index(name, class_names) for name in line[:2])
        if source == target:
            raise ValueError(f"target_pairs: {class_names[source]} is its own target")
        if chosen.setdefault(source, target) != target:
            hint = f"; give target_kind={'|'.join(kinds)}" if kinds and kind is None else ""
            raise ValueError(f"target_pairs: two targets for {class_names[source]}{hint}")
    if not chosen:
        raise ValueError("target_pairs holds no pair")
    return chosen


def _lines_of(file: str) -> list[list[str | int]]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"target_pairs={file}: no such file")
    return [list(row.values()) for _, row in read_table(path, ("source", "target"), ("kind",))]


def _index(name: str | int, class_names: Sequence[str]) -> int:
    text = str(name).strip()
    # Digits are class names where a classifier calls its classes so.
    if text.isdigit() and text not in class_names:
        if int(text) >= len(class_names):
            raise ValueError(
                f"target_pairs: {text} is no class index; expected 0 to {len(class_names) - 1}"
            )
        return int(text)
    try:
        return class_index(text, class_names)
    except ValueError as error:
        raise ValueError(f"target_pairs: {error}") from error
