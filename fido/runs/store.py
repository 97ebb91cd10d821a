"""Explanations on disk: a folder of results, resumable, shared by several processes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fido.records import Explanation, Key, PhotoRecord, RegionEdit, Sample
from fido.runs import run_settings
from fido.runs.index import ResultsIndex
from fido.runs.photos import PhotoClaims
from fido.runs.result_file import ResultFile, Row, file_stem, note_stem, write_result
from fido.runtime.files import (
    DamagedFileError,
    create_json,
    read_json,
    set_aside,
    write_json,
    write_text,
)
from fido.runtime.names import file_name


class ResultsStore:
    """`explanations/<image>.class<target>.seed<seed>.safetensors` and their tables in one folder.

    A file holds everything that a report needs of its result, see `write_result`. Results that
    could not be had have a note in `not_explained/`. `settings.json` says what determines the maps.
    Files are written to a temporary name and renamed: every file is complete. Several processes
    may write into one store at the same time.

    Wherever a key is taken, the id of an image will do if the store has one result of it.

    Args:
        folder: The run's folder, made if missing.
        settings: What determines the maps. The first run writes them to `settings.json`; a later
            run must have the same.
        made_by: How the first run was started, for names in tables; see `run_settings.begin`.

    Raises:
        SettingsMismatchError: If the folder was begun with other settings; names them. Or if there
            are results, and nothing says with which settings they were made.
        OtherFormatError: If another version of fido wrote the folder.
        DamagedFileError: If `settings.json` cannot be read and no settings are given.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any] | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.explanations = self.folder / "explanations"
        self.not_explained = self.folder / "not_explained"
        if settings is None:
            self.settings()
        else:
            run_settings.begin(self.folder, settings, made_by)
        self.explanations.mkdir(parents=True, exist_ok=True)
        self._index = ResultsIndex(self.explanations)
        self._compared: set[str] = set()  # ids of results whose photos are known to be the run's
        self._claims = PhotoClaims(self.folder / ".photos", self._photo_of)

    def __contains__(self, key: Key | str) -> bool:
        if isinstance(key, Key):
            return self._path(key).is_file()
        return any(self._files_of(key))

    def __iter__(self) -> Iterator[Key]:
        """Keys of finished results, sorted.

        Raises:
            DamagedFileError, OtherFormatError: If a file among them cannot be read.
        """
        yield from self._keys()

    def __len__(self) -> int:
        return len(self._keys())

    def by_image(self) -> dict[str, list[Key]]:
        """Image id to the keys of its results, from one look into the folder."""
        keys: dict[str, list[Key]] = {}
        for key in self._keys():
            keys.setdefault(key.image_id, []).append(key)
        return keys

    def check_photos(self, photos: Iterable[tuple[str, Path]]) -> None:
        """See that photos are those that results of their ids were made of.

        Args:
            photos: Id and file of every photo that is to be explained.

        Raises:
            PhotoMismatchError: If one is not; names it.
        """
        self._index.refresh()
        self.check_photos_again(photos)

    def check_photos_again(self, photos: Iterable[tuple[str, Path]]) -> None:
        """See that photos are those of results that have come since; see `check_photos`.

        The folder is not looked into: it goes by the last look.
        """
        stored = {}
        for key in self._index.sorted_keys():
            file = None if key.image_id in self._compared else self._index.get(key)
            if file is not None and file.photo is not None:
                stored[key.image_id] = file.photo
        self._claims.check(stored, photos)
        self._compared |= stored.keys()

    def check_photo(self, key: Key, path: Path) -> None:
        """See that a photo is the one that a result was made of; see `check_photos`."""
        photo = self.photo(key)
        if photo is not None:
            self._claims.check({key.image_id: photo.sha256}, [(key.image_id, path)])

    def figure_path(self, key: Key) -> Path:
        """Where the figure of a result belongs."""
        return self.folder / "figures" / f"{file_stem(key)}.png"

    def save(
        self,
        sample: Sample,
        explanation: Explanation,
        row: Row,
        edit: RegionEdit | None = None,
        ranking: Sequence[int] = (),
    ) -> Path:
        """Write one result, see `write_result`; an earlier note of why there was none goes.

        Raises:
            PhotoMismatchError: If another process has saved another photo's result under the id.
        """
        path = self._path(explanation.key)
        if sample.photo is not None:
            self._claims.claim(sample.id, sample.photo)
        write_result(path, sample, explanation, row, edit, ranking)
        for stem in (path.stem, note_stem(explanation.id)):
            (self.not_explained / f"{stem}.json").unlink(missing_ok=True)
        return path

    def save_not_explained(self, row: Row) -> None:
        """Note why an image has no explanation.

        Args:
            row: With "id", "status" and "reason"; with "target" and "seed" where they were known.
        """
        image_id, target = str(row["id"]), row.get("target")
        known = isinstance(target, int)
        stem = file_stem(_row_key(row)) if known else note_stem(image_id)
        write_json(self.not_explained / f"{stem}.json", row)

    def load(self, key: Key | str) -> Explanation:
        """Read one explanation.

        Raises:
            KeyError: If the result is not in the store.
            DamagedFileError: If its file cannot be read.
        """
        return self._file(key).explanation()

    def sample(self, key: Key | str) -> Sample:
        """What was explained; the image as it was to 8 bits.

        Raises:
            KeyError, DamagedFileError: See `load`.
        """
        return self._file(key).sample()

    def edit(self, key: Key | str) -> RegionEdit | None:
        """The image edited by the explanation's region, to 8 bits; None if none was stored.

        Raises:
            KeyError, DamagedFileError: See `load`.
        """
        return self._file(key).edit()

    def row(self, key: Key | str) -> Row:
        """The row saved with an explanation.

        Raises:
            KeyError, DamagedFileError: See `load`.
        """
        return self._file(key).row

    def file(self, key: Key | str) -> ResultFile:
        """The file of a result, for whoever wants several things of it.

        Raises:
            KeyError: If the result is not in the store.
        """
        return self._file(key)

    def photo(self, key: Key | str) -> PhotoRecord | None:
        """Which photo was explained; None if it came from no source.

        Raises:
            KeyError, DamagedFileError: See `load`.
        """
        return self._file(key).photo

    def ranking(self, key: Key | str) -> list[int]:
        """The photo's first classes, as far as they were stored.

        Raises:
            KeyError, DamagedFileError: See `load`.
        """
        known = self._index.get(key) if isinstance(key, Key) else None  # a run asks for all
        return self._file(key).ranking if known is None else list(known.ranking)

    def rows(self) -> list[Row]:
        """Rows of all finished and failed results, sorted by id, target and seed."""
        rows, keys = [], self.by_image()
        for key in chain.from_iterable(keys.values()):
            file = self._index.get(key)
            rows += [] if file is None else [file.row]
        rows += self.rows_not_explained(keys)
        return sorted(rows, key=lambda row: _row_key(row))

    def rows_not_explained(self, explained: Mapping[str, Sequence[Key]] | None = None) -> list[Row]:
        """Rows of what has no explanation, with the reasons.

        Args:
            explained: As `by_image` returned it; None asks.
        """
        explained = self.by_image() if explained is None else explained
        rows: list[Row] = []
        for path in self.not_explained.glob("[!.]*.json"):
            # Another process that explains the image after all removes the note.
            row: Row = {}
            with suppress(FileNotFoundError):
                row = _read_note(path)
            if not row:
                continue
            key, known = _row_key(row), isinstance(row.get("target"), int)
            there = explained.get(key.image_id, ())
            if key not in there if known else key.seed not in {one.seed for one in there}:
                rows.append(row)
        return rows

    def rows_until_stable(self, complete: Callable[[], bool]) -> Iterator[list[Row]]:
        """All rows, for files that are made of all of them: write those for every list that comes.

        Of processes that end together, one that has read fewer rows may write last. So another
        list follows if rows have changed since this one was read and none is missing. If some are
        missing, whoever adds them writes later. When the last process ends, the files are whole.

        Args:
            complete: Says whether all results of the run are there.
        """
        while True:
            rows = self.rows()
            seen = self._stamps()
            yield rows
            self._index.refresh()
            if self._stamps() == seen or not complete():
                return

    def set_aside_damaged(self) -> list[Path]:
        """Move files that cannot be read to `damaged/`, so that what they hold is made again.

        Returns:
            Where they are now.
        """
        self._index.refresh()
        damaged = [self.explanations / file.name for file in self._index.damaged()]
        for path in sorted(self.not_explained.glob("[!.]*.json")):
            try:
                _read_note(path)
            except DamagedFileError:
                damaged.append(path)
        return [moved for path in damaged if (moved := set_aside(path, self.folder)) is not None]

    def write_scores(self, rows: Iterable[Row] | None = None) -> Path:
        """Write `scores.csv`: one line a result, finished or failed.

        Args:
            rows: None reads them.
        """
        rows = self.rows() if rows is None else list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row.get(name, "") for name in columns] for row in rows)
        path = self.folder / "scores.csv"
        write_text(path, text.getvalue())
        return path

    def scores(self, first: int | None = None) -> dict[Key, Row]:
        """The lines of `scores.csv` as text, by key; empty if it was not written yet.

        An empty cell is None: another process may have scored other images so far.

        Args:
            first: Read so many lines; None reads all.

        Raises:
            DamagedFileError: If the file is no such table.
        """
        path = self.folder / "scores.csv"
        if not path.is_file():
            return {}
        try:
            with path.open(newline="", encoding="utf-8") as lines:
                return {
                    Key(row["id"], int(row["target"]), int(row["seed"])): {
                        name: cell or None for name, cell in row.items()
                    }
                    for row in islice(csv.DictReader(lines), first)
                    if row.get("target") and row.get("seed")
                }
        except (ValueError, KeyError, csv.Error) as error:
            raise DamagedFileError(path, error) from error

    def settings(self) -> dict[str, Any]:
        """What determined the maps; empty for a folder that was begun without settings.

        Raises:
            DamagedFileError, OtherFormatError: See `ResultsStore`.
        """
        return run_settings.read_settings(self.folder)

    def save_class_names(self, names: Sequence[str]) -> None:
        """Write the names of the classifier's classes, for figures and reports."""
        path, content = self.folder / "class_names.json", {"class_names": list(names)}
        if not create_json(path, content):
            try:
                there = self.class_names()
            except DamagedFileError:
                there = []
            if len(there) != len(names):
                write_json(path, content)

    def class_names(self) -> list[str]:
        """Names of the classifier's classes; empty if they were not stored.

        Raises:
            DamagedFileError: If the file cannot be read.
        """
        path = self.folder / "class_names.json"
        names = read_json(path).get("class_names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DamagedFileError(path, "no list of names")
        return names

    def _path(self, key: Key) -> Path:
        return self.explanations / f"{file_stem(key)}.safetensors"

    def _keys(self) -> list[Key]:
        self._index.refresh()
        for file in self._index.damaged():
            assert file.error is not None
            raise file.error
        return self._index.sorted_keys()

    def _photo_of(self, image_id: str) -> PhotoRecord | None:
        """The photo of an image's first result; None without a result."""
        self._index.refresh()
        keys = (key for key in self._index.sorted_keys() if key.image_id == image_id)
        return next((ResultFile(self._path(key)).photo for key in keys), None)

    def _files_of(self, image_id: str) -> Iterator[ResultFile]:
        """The files of an image's results."""
        start = f"{file_name(image_id)}.class"
        for path in self.explanations.glob("[!.]*.safetensors"):
            if path.name.startswith(start) and (file := ResultFile(path)).key.image_id == image_id:
                yield file

    def _file(self, key: Key | str) -> ResultFile:
        """The file of a result."""
        if isinstance(key, Key):
            path = self._path(key)
            if not path.is_file():
                raise KeyError(f"no explanation of {key} in {self.folder}")
            return ResultFile(path)
        files = list(self._files_of(key))
        if not files:
            raise KeyError(f"no explanation of {key!r} in {self.folder}")
        if len(files) > 1:
            raise KeyError(
                f"{len(files)} explanations of {key!r} in {self.folder}; "
                "give a Key(image_id, target, seed)"
            )
        return files[0]

    def _stamps(self) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
        """Size and time in ns of files that rows are read from; results as they were listed."""
        notes = {}
        for path in self.not_explained.glob("[!.]*.json"):
            with suppress(FileNotFoundError):
                about = path.stat()
                notes[path.name] = about.st_size, about.st_mtime_ns
        return self._index.stamps(), notes


def _read_note(path: Path) -> Row:
    """The row of a note; empty if there is none any more.

    Raises:
        DamagedFileError: If it is no note.
    """
    row = read_json(path)
    plain = all(value is None or isinstance(value, str | int | float) for value in row.values())
    if row and not (
        plain and isinstance(row.get("id"), str) and isinstance(row.get("status"), str)
    ):
        raise DamagedFileError(path, "no note of fido")
    return row


def _row_key(row: Row) -> Key:
    """The key of a row; -1 where the target was not known."""
    target, seed = row.get("target"), row.get("seed")
    return Key(
        str(row["id"]),
        target if isinstance(target, int) else -1,
        seed if isinstance(seed, int) else 0,
    )
