"""From the frame of scores to the numbers of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fido.evaluation.bootstrap import Bootstrap, Estimate
from fido.evaluation.frame import Results, RowScores, image_values
from fido.metrics.base import Column, ImageMetric
from fido.metrics.score_set import Array


@dataclass(frozen=True, eq=False)
class RowSummary:
    """One row of a metric's table.

    Attributes:
        images: How many there are, with those that have no number.
        values: Column to (images,) numbers, sorted by image id, NaN where undefined; of several
            results of an image their mean.
        estimates: Column to mean with interval.
        differences: Column to mean of this row minus the baseline over their common images; none
            for the baseline itself.
        set_values: Numbers of the whole set; see `ImageMetric.set_values`.
        curve: The metric's curve, where it has one: (m,) x and (m,) y.
        curve_names: Names of its points, where every row has its own.
    """

    images: int
    values: Mapping[str, Array]
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    set_values: Mapping[str, float]
    curve: tuple[Array, Array] | None
    curve_names: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class MetricSummary:
    """A metric's table.

    Attributes:
        name: The metric's name.
        metric: The metric.
        baseline: The row that the others are compared with.
        rows: In table order.
        columns: The metric's, or one group of them.
    """

    name: str
    metric: ImageMetric
    baseline: str
    rows: Mapping[str, RowSummary]
    columns: Sequence[Column]

    def parts(self) -> list[MetricSummary]:
        """One table for each group of columns, named after the group; itself without groups."""
        groups = dict.fromkeys(column.group for column in self.columns)
        return [self] if set(groups) <= {""} else [self._part(group) for group in groups]

    def _part(self, group: str) -> MetricSummary:
        start = f"{group}/"
        rows = {
            name: replace(
                row,
                set_values={
                    k.removeprefix(start): v
                    for k, v in row.set_values.items()
                    if k.startswith(start)
                },
            )
            for name, row in self.rows.items()
        }
        columns = [column for column in self.columns if column.group == group]
        return replace(self, name=f"{self.name}.{group}", rows=rows, columns=columns)

    def plain(self) -> dict[str, Any]:
        """For JSON: n, mean and interval of every row and column; None for undefined numbers."""
        return {
            "baseline": self.baseline,
            "columns": {c.name: {"title": c.title, "better": c.better} for c in self.columns},
            "rows": {
                name: {
                    "images": row.images,
                    "mean": {c: _estimate(e) for c, e in row.estimates.items()},
                    "minus_baseline": {c: _estimate(e) for c, e in row.differences.items()},
                    "set_values": dict(row.set_values),
                }
                for name, row in self.rows.items()
            },
        }


def summarise(
    results: Results,
    frame: pd.DataFrame,
    compare_to: str | None = None,
    bootstrap: Bootstrap | None = None,
) -> list[MetricSummary]:
    """A table for every metric with rows.

    Args:
        results: What an evaluation gave.
        frame: Its `score_frame`.
        compare_to: The row that the others are compared with; None, or a row that a table does not
            have, takes its first row that is not a reference row, or else the first.
        bootstrap: Makes the intervals; None takes its defaults.
    """
    bootstrap = bootstrap or Bootstrap()
    return [
        _summary(name, rows, frame, compare_to, bootstrap) for name, rows in results.items() if rows
    ]


def _summary(
    name: str,
    rows: Mapping[str, RowScores],
    frame: pd.DataFrame,
    compare_to: str | None,
    bootstrap: Bootstrap,
) -> MetricSummary:
    metric = next(iter(rows.values())).metric
    baseline = compare_to
    if baseline is None or baseline not in rows:
        baseline = next((row for row in rows if not is_reference(row, metric)), next(iter(rows)))
    columns = [column.name for column in metric.columns]
    values, there = image_values(frame, name, list(rows), columns)
    differences = values - values[list(rows).index(baseline)]
    shape = (len(rows), len(columns))
    estimates = bootstrap.means([*values.reshape(-1, values.shape[-1])])
    changes = bootstrap.means([*differences.reshape(-1, values.shape[-1])])
    summaries = {}
    for i, (row, content) in enumerate(rows.items()):
        of_row = slice(i * shape[1], (i + 1) * shape[1])
        of_changes = zip(columns, changes[of_row], strict=True)
        curve = content.metric.summary_curve(content.scores)
        x = None if content.metric.curve is None else np.array(content.metric.curve.x, dtype=float)
        summaries[row] = RowSummary(
            images=int(there[i].sum()),
            values={c: values[i, k][there[i]] for k, c in enumerate(columns)},
            estimates=dict(zip(columns, estimates[of_row], strict=True)),
            differences={} if row == baseline else dict(of_changes),
            set_values=content.metric.set_values(content.scores),
            curve=None if curve is None or x is None else (x, curve),
            curve_names=content.metric.curve_names(content.scores),
        )
    return MetricSummary(name, metric, baseline, summaries, metric.columns)


def is_reference(row: str, metric: ImageMetric) -> bool:
    """Whether a table's row is one without an explainer, of whichever classifier."""
    return any(row == name or row.startswith(f"{name} (") for name in metric.subject.reference_rows)


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(estimate).items()
    }
