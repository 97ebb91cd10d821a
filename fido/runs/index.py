"""What the files of a store say of themselves, read once and again only where they change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fido.records import Key
from fido.runs.result_file import ResultFile


@dataclass(frozen=True)
class IndexedFile:
    """One result file as it was when it was read.

    Attributes:
        path: The file.
        stamp: Its size and its time in ns.
        key: What the result belongs to; None if the file is damaged or no result.
        metadata: Its metadata as JSON text: kept as text, which is a fraction of what it parses to.
        photo: Sha256 of the photo; None if it came from no source.
        ranking: The photo's first classes, as far as they were stored.
        error: Why the file cannot be read.
    """

    path: Path
    stamp: tuple[int, int]
    key: Key | None
    metadata: str = ""
    photo: str | None = None
    ranking: tuple[int, ...] = ()
    error: ValueError | None = None


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

    def refresh(self) -> None:
        """Look into the folder."""
        found: dict[str, IndexedFile] = {}
        for name, stamp in self._listed():
            known = self._files.get(name)
            if known is not None and known.stamp == stamp:
                found[name] = known
                continue
            read = _read(self.folder / name, stamp)
            if read is not None:
                found[name] = read
        if found != self._files:
            self._files = found
            self._keys = {file.key: file for file in found.values() if file.key is not None}
            self._sorted = sorted(self._keys)

    def sorted_keys(self) -> list[Key]:
        """Keys of the results, sorted; after `refresh`."""
        return self._sorted

    def get(self, key: Key) -> ResultFile | None:
        """The file of a result as the last look found it; None if there was none."""
        file = self._keys.get(key)
        return None if file is None else ResultFile(file.path, file.metadata)

    def about(self, key: Key) -> IndexedFile | None:
        """What the last look found of a result; None if there was none."""
        return self._keys.get(key)

    def damaged(self) -> list[IndexedFile]:
        """Files that cannot be read, sorted by name; after `refresh`."""
        return [file for _, file in sorted(self._files.items()) if file.error is not None]

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


def _read(path: Path, stamp: tuple[int, int]) -> IndexedFile | None:
    file = ResultFile(path)
    try:
        photo, ranking = file.photo, tuple(file.ranking)
        sha256 = None if photo is None else photo.sha256
        return IndexedFile(path, stamp, file.key, file.metadata, sha256, ranking)
    except FileNotFoundError:
        return None
    except ValueError as error:
        return IndexedFile(path, stamp, None, error=error)
