"""Scores while a run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fido.evaluation.evaluation import Evaluation
from fido.evaluation.score_store import ScoreStore
from fido.records import Key
from fido.runs.observer import Observer, Result
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore
from fido.runtime.collector import no_collections


class ScoringObserver:
    """Scores every explanation as soon as it is saved, then tells others of it with its scores.

    An observer of `fido.runs.runner.Runner`.

    Args:
        evaluation: Of the store that the runner writes to, and of no other.
        metric: Name of the metric whose numbers enter rows.
        after: Name of the column that they follow.
        observers: Who is told of results with these numbers in their rows.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        metric: str,
        after: str = "p_original",
        observers: Sequence[Observer] = (),
    ) -> None:
        self.evaluation = evaluation
        self.metric = metric
        self.after = after
        self.observers = observers
        (self._store,) = evaluation.stored.stores
        self._known: dict[Key, dict[str, float]] = {}

    def begin(self, done: int, to_do: int) -> None:
        """Score what an interrupted run has stored and not scored; see `Observer.begin`."""
        stored = self.evaluation.stored
        stored.refresh()
        with no_collections():
            left = [
                image_id
                for image_id in sorted(stored.images(self._store))
                if any(self._values(key) is None for key in stored.keys(self._store, image_id))
            ]
        for image_id in left:
            self._score(image_id, stored.keys(self._store, image_id))
        for observer in self.observers:
            observer.begin(done, to_do)

    def result(self, result: Result) -> None:
        """See `Observer.result`; the scores are on disk afterwards."""
        self._score(result.explanation.id, [result.explanation.key])
        (row,) = self.with_scores([result.row])
        for observer in self.observers:
            observer.result(replace(result, row=row))

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""
        for observer in self.observers:
            observer.skipped(row)

    def with_scores(self, rows: list[Row]) -> list[Row]:
        """Rows of the store with the metric's numbers, as far as they are on disk."""
        return [insert_scores(row, self._values, self.after) for row in rows]

    def _score(self, image_id: str, keys: Sequence[Key]) -> None:
        for key in keys:
            self.evaluation.stored.add(self._store, key)
            self._known.pop(key, None)
        self.evaluation.score_image(image_id)

    def _values(self, key: Key) -> dict[str, float] | None:
        if key not in self._known:
            values = self.evaluation.values_on_disk(self.metric, self._store, key)
            if values is None:
                return None
            self._known[key] = values  # a table of many results asks several times
        return self._known[key]


def rows_with_stored_scores(
    store: ResultsStore, metric: str, columns: Sequence[str], after: str = "p_original"
) -> list[Row]:
    """Rows of a store with a metric's numbers as they lie on disk, without building the metric.

    For whoever writes the table of processes that have died.

    Args:
        store: The store.
        metric: Name of the metric.
        columns: Its columns, in order.
        after: Name of the column that they follow.
    """
    scores = ScoreStore(store.folder / "scored")

    def values_of(key: Key) -> dict[str, float] | None:
        values = scores.open(key).values(metric, "explanation")
        return None if values is None else {n: values[n] for n in columns if n in values}

    return [insert_scores(row, values_of, after) for row in store.rows()]


def insert_scores(
    row: Row, values_of: Callable[[Key], Mapping[str, float] | None], after: str
) -> Row:
    """A row with the numbers of its result behind one of its columns, as far as there are any.

    Args:
        row: The row; one without an explanation stays as it is.
        values_of: From a result's key to its numbers.
        after: Name of the column that they follow.
    """
    if row["status"] != "explained":
        return row
    key = Key(str(row["id"]), int(row["target"] or 0), int(row["seed"] or 0))
    values = values_of(key) or {}
    numbers: Row = {n: None if math.isnan(v) else v for n, v in values.items() if n not in row}
    completed: Row = {}
    for name, value in row.items():
        completed[name] = value
        if name == after:
            completed |= numbers
    return completed
