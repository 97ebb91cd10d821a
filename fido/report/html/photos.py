"""The results of several stores, photo by photo, as a report shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fido.records import Key
from fido.report.about import RunAbout, about_run
from fido.runs.result_file import Row, file_stem
from fido.runs.store import ResultsStore


@dataclass(frozen=True, eq=False)
class Run:
    """One store of a report.

    Attributes:
        name: Row name in tables.
        store: The results.
        about: What the run did.
        class_names: Of its classifier; may be empty.
        differs: The settings in which the runs of the report differ, with their values here.
    """

    name: str
    store: ResultsStore
    about: RunAbout
    class_names: Sequence[str]
    differs: Mapping[str, str] = field(default_factory=dict)

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where nobody has named it."""
        known = 0 <= index < len(self.class_names)
        return str(self.class_names[index]) if known else f"class {index}"


@dataclass(frozen=True, eq=False)
class Entry:
    """One result of a report, or the note of why there is none.

    Attributes:
        run: Number of the run.
        row: What is known about the result, as in `scores.csv`.
        key: Of the result; None for a note.
        path: The file of the map; None for a note.
    """

    run: int
    row: Row
    key: Key | None = None
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """All results of one image id.

    Attributes:
        id: The image's.
        entries: Its results, in the order of the runs.
    """

    id: str
    entries: Sequence[Entry]

    @property
    def name(self) -> str:
        """Name of the photo's files in the report: safe in any file system and address."""
        return hashlib.sha256(self.id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def runs_of(stores: Mapping[str, ResultsStore]) -> list[Run]:
    """The runs of a report, with the settings in which they differ."""
    abouts = {name: about_run(store) for name, store in stores.items()}
    settings = {name: about.settings or {} for name, about in abouts.items()}
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    # What only some methods have, the method's own filter tells apart.
    found = {key: {repr(s[key]) for s in settings.values() if key in s} for key in keys}
    telling = [key for key in keys if len(found[key]) > 1]
    return [
        Run(
            name,
            store,
            abouts[name],
            store.class_names(),
            {key: str(settings[name].get(key, "")) for key in telling},
        )
        for name, store in stores.items()
    ]


def photos_of(runs: Sequence[Run]) -> list[Photo]:
    """All photos by id, with every result and every note of a failure."""
    found: dict[str, list[Entry]] = {}
    for number, run in enumerate(runs):
        for entry in _entries(number, run):
            found.setdefault(str(entry.row["id"]), []).append(entry)
    return [Photo(image_id, found[image_id]) for image_id in sorted(found)]


def numbers_of(row: Row) -> dict[str, float | None]:
    """The class's probabilities and the area of the region, as in `scores.csv`; None if unknown."""
    return {name: _number(row.get(name)) for name in ("p_original", "p_kept", "p_removed", "area")}


def _entries(number: int, run: Run) -> Iterator[Entry]:
    scores = run.store.scores()
    for key in run.store:
        # The table first: looking into every file takes much longer.
        row = scores.get(key) or run.store.row(key)
        path = run.store.explanations / f"{file_stem(key)}.safetensors"
        yield Entry(number, row, key, path)
    for row in sorted(run.store.rows_not_explained(), key=lambda row: str(row["id"])):
        yield Entry(number, row)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
