"""One tidy table of all scores: a line a row, image, target, seed, metric and column."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fido.metrics.base import ImageMetric
from fido.metrics.score_set import ImageScore, ScoreSet
from fido.records import Key

FRAME = ("row", "id", "target", "seed", "metric", "column", "value")
"""Columns of the frame, in order. A line is what a metric's column is for one result of a row; NaN
where it is undefined."""

KINDS: Mapping[str, Any] = {
    "row": np.int16,
    "id": np.int32,
    "target": np.int32,
    "seed": np.int64,
    "metric": np.int16,
    "column": np.int16,
    "value": np.float64,
}

BLOCK = 512
"""Scores that are kept as objects before they become arrays, which take a tenth of the memory."""

Results = Mapping[str, Mapping[str, "RowScores"]]
"""Metric to row to scores, in table order."""


@dataclass(frozen=True, eq=False)
class RowScores:
    """What one metric measured for one row.

    Attributes:
        metric: The metric; rows of other classifiers have another one of the same name.
        scores: What it recorded on n results, sorted by image.
        targets: (n,) explained classes; -1 where there is none.
        seeds: (n,) seeds of the runs.
    """

    metric: ImageMetric
    scores: ScoreSet
    targets: NDArray[np.int64]
    seeds: NDArray[np.int64]


class ScoreCollector:
    """Takes scores one by one and gives them as arrays."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._scores: list[tuple[str, ImageScore]] = []
        self._blocks: list[ScoreSet] = []
        self._targets: list[NDArray[np.int64]] = []
        self._seeds: list[NDArray[np.int64]] = []

    def add(self, key: Key, score: ImageScore) -> None:
        """Take one score."""
        self._keys.append(key)
        # One string an image, however many rows and metrics it has.
        self._scores.append((sys.intern(key.image_id), score))
        if len(self._keys) == BLOCK:
            self._close_block()

    def row_scores(self, metric: ImageMetric) -> RowScores:
        """All scores that were taken, in their order."""
        self._close_block()
        scores = ScoreSet.concatenate(self._blocks)
        return RowScores(metric, scores, np.concatenate(self._targets), np.concatenate(self._seeds))

    def _close_block(self) -> None:
        self._blocks.append(ScoreSet.collate(self._scores))
        self._targets.append(np.array([key.target for key in self._keys], dtype=np.int64))
        self._seeds.append(np.array([key.seed for key in self._keys], dtype=np.int64))
        self._keys, self._scores = [], []


def score_frame(results: Results) -> pd.DataFrame:
    """The final numbers of all metrics, rows and results.

    Returns:
        A frame with the columns `FRAME`. Row, id, metric and column are categories: rows, metrics
        and columns in table order, ids sorted.
    """
    ids = sorted({i for rows in results.values() for r in rows.values() for i in r.scores.ids})
    number = {image_id: i for i, image_id in enumerate(ids)}
    names = {
        "row": list(dict.fromkeys(row for table in results.values() for row in table)),
        "metric": list(results),
        "column": list(
            dict.fromkeys(c for t in results.values() for r in t.values() for c in _columns(r))
        ),
    }
    code = {kind: {name: i for i, name in enumerate(values)} for kind, values in names.items()}
    total = sum(len(r.scores) * len(_columns(r)) for t in results.values() for r in t.values())
    # Filled in place: the arrays of a large evaluation are a good part of the memory there is.
    lines: dict[str, NDArray[Any]] = {name: np.empty(total, KINDS[name]) for name in FRAME}
    first = 0
    for metric, table in results.items():
        for row, content in table.items():
            images = np.array([number[i] for i in content.scores.ids], dtype=np.int32)
            for column, values in content.metric.finalize(content.scores).items():
                place = slice(first, first + len(images))
                first += len(images)
                lines["row"][place] = code["row"][row]
                lines["id"][place] = images
                lines["target"][place], lines["seed"][place] = content.targets, content.seeds
                lines["metric"][place] = code["metric"][metric]
                lines["column"][place] = code["column"][column]
                lines["value"][place] = values
    categories = {**names, "id": ids}
    return pd.DataFrame(
        {
            name: pd.Categorical.from_codes(lines.pop(name), categories[name])
            if name in categories
            else lines.pop(name)
            for name in FRAME
        },
        copy=False,
    )


def _columns(scores: RowScores) -> list[str]:
    return [column.name for column in scores.metric.columns]


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a row and result, a column "<metric>.<column>" a number; NaN where undefined."""
    keys = list(FRAME[:4])
    line = frame.groupby(keys, observed=True, sort=False).ngroup().to_numpy()
    name = frame.groupby(["metric", "column"], observed=True, sort=False).ngroup().to_numpy()
    first = np.unique(line, return_index=True)[1]
    named = frame.iloc[np.unique(name, return_index=True)[1]]
    values = np.full((len(first), len(named)), np.nan)
    values[line, name] = frame["value"].to_numpy()
    titles = [f"{m}.{c}" for m, c in zip(named["metric"], named["column"], strict=True)]
    lines = frame.iloc[first][keys].reset_index(drop=True)
    return pd.concat([lines, pd.DataFrame(values, columns=titles)], axis=1)


def image_values(
    frame: pd.DataFrame, metric: str, rows: Sequence[str], columns: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A metric's numbers by row, column and image: of several results of an image their mean.

    Images are what a mean and its interval are over, because results of one image for several
    targets or seeds are not independent of each other.

    Returns:
        (rows, columns, images) numbers, NaN where undefined, images sorted by id; and
        (rows, images) whether a row has the image.
    """
    part = frame[frame["metric"] == metric]
    ids = part["id"].cat.codes.to_numpy()
    present, image = np.unique(ids, return_inverse=True)
    row = _positions(part["row"], rows)
    column = _positions(part["column"], columns)
    values = part["value"].to_numpy()
    shape = (len(rows), len(columns), len(present))
    cell = (row * shape[1] + column) * shape[2] + image
    defined = ~np.isnan(values)
    size = int(np.prod(shape))
    counts = np.bincount(cell[defined], minlength=size)
    sums = np.bincount(cell[defined], weights=values[defined], minlength=size)
    means = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
    there = np.zeros((len(rows), len(present)), dtype=bool)
    there[row, image] = True
    return means.reshape(shape), there


def _positions(series: pd.Series, names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) the place of each entry of a categorical series in `names`."""
    place = {name: i for i, name in enumerate(names)}
    of_code = np.array([place.get(name, -1) for name in series.cat.categories], dtype=np.int64)
    positions: NDArray[np.int64] = of_code[series.cat.codes.to_numpy()]
    return positions
