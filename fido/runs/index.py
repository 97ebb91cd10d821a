"""What the files of a store say of themselves, read once and again only where they change."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fido.records import Key
from fido.runs.result_file import ResultFile, Row
from fido.runtime.collector import no_collections


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """One result file as it was when it was read; small, because a store may hold a million.

    Attributes:
        name: Of the file.
        stamp: Its size and its time in ns.
        key: What the result belongs to; None if the file is damaged or no result.
        names: Columns of the result's row; one tuple for all rows that have the same.
        cells: What stands in them.
        photo: Sha256 of the photo; None if it came from no source.
        ranking: The photo's first classes, as far as they were stored.
        error: Why the file cannot be read.
    """

    name: str
    stamp: tuple[int, int]
    key: Key | None
    names: tuple[str, ...] = ()
    cells: tuple[str | int | float | None, ...] = ()
    photo: str | None = None
    ranking: tuple[int, ...] = ()
    error: ValueError | None = None

    @property
    def row(self) -> Row:
        """Numbers and names of the result."""
        return dict(zip(self.names, self.cells, strict=True))


class ResultsIndex:
    """The headers of all result files of a folder.

    Listing a folder takes microseconds a file, opening all of its files a hundred times that. So
    files are opened only when they are new or have changed since the last look.

    Args:
        folder: With the result files; temporary ones are hidden and do not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, IndexedFile] = {}
        self._keys: dict[Key, IndexedFile] = {}
        self._sorted: list[Key] = []
        self._damaged: list[IndexedFile] = []
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def refresh(self) -> None:
        """Look into the folder."""
        found: dict[str, IndexedFile] = {}
        with no_collections():
            for name, stamp in self._listed():
                known = self._files.get(name)
                if known is not None and known.stamp == stamp:
                    found[name] = known
                    continue
                read = self._read(name, stamp)
                if read is not None:
                    found[name] = read
        if found != self._files:
            self._files = found
            self._keys = {file.key: file for file in found.values() if file.key is not None}
            self._sorted = sorted(self._keys)
            wrong = (file for file in found.values() if file.error is not None)
            self._damaged = sorted(wrong, key=lambda file: file.name)

    def sorted_keys(self) -> list[Key]:
        """Keys of the results, sorted; after `refresh`."""
        return self._sorted

    def get(self, key: Key) -> IndexedFile | None:
        """What the last look found of a result; None if there was none."""
        return self._keys.get(key)

    def damaged(self) -> list[IndexedFile]:
        """Files that cannot be read, sorted by name; after `refresh`."""
        return self._damaged

    def stamps(self) -> dict[str, tuple[int, int]]:
        """File name to size and time; after `refresh`."""
        return {name: file.stamp for name, file in self._files.items()}

    def _listed(self) -> Iterator[tuple[str, tuple[int, int]]]:
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".safetensors") and not entry.name.startswith("."):
                        try:
                            about = entry.stat()
                        except FileNotFoundError:  # another process set it aside
                            continue
                        yield entry.name, (about.st_size, about.st_mtime_ns)
        except FileNotFoundError:
            return

    def _read(self, name: str, stamp: tuple[int, int]) -> IndexedFile | None:
        file = ResultFile(self.folder / name)
        try:
            columns = tuple(file.row)
            cells = [sys.intern(v) if type(v) is str else v for v in file.row.values()]
            return IndexedFile(
                name,
                stamp,
                file.key,
                self._names.setdefault(columns, columns),
                tuple(cells),
                None if file.photo is None else sys.intern(file.photo.sha256),
                tuple(file.ranking),
            )
        except FileNotFoundError:
            return None
        except ValueError as error:
            return IndexedFile(name, stamp, None, error=error)
