"""Tables of the user's: CSV files whose errors are told with file and line."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path


def read_table(
    path: Path, columns: Collection[str], optional: Collection[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a CSV file: their numbers, and their cells in the columns that are asked for.

    Cells that a short line does not have are empty.

    Args:
        path: The file, in UTF-8, with or without a byte order mark.
        columns: Those that there must be.
        optional: Those that are taken where they are there.

    Raises:
        ValueError: If the file is no such table; names it and, where one is wrong, the line.
        OSError: If it cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            head = next(reader, [])
            missing = [name for name in columns if name not in head]
            if missing:
                raise ValueError(f"{path}: no column {missing[0]!r}, expected {', '.join(columns)}")
            places = {name: head.index(name) for name in (*columns, *optional) if name in head}
            twice = [name for name in places if head.count(name) > 1]
            if twice:
                raise ValueError(f"{path}: two columns {twice[0]!r}")
            for cells in reader:
                if cells:
                    yield (
                        reader.line_num,
                        {n: cells[i] if i < len(cells) else "" for n, i in places.items()},
                    )
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: not in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
            ) from error
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def whole_number(text: str) -> int:
    """A class index as tables write it: "3", or "3.0" as tables with gaps do.

    Raises:
        ValueError: If it is none.
    """
    plain = text.strip().removesuffix(".0")
    digits = plain.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError(f"{text!r} is no class index, expected a whole number from 0")
    return int(plain)
