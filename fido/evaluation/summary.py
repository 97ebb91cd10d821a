"""From the scores of images to the numbers of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from fido.evaluation.bootstrap import Bootstrap, Estimate
from fido.metrics.base import Column, ImageMetric, ImageScore


@dataclass(frozen=True, eq=False)
class RowSummary:
    """One row of a metric's table.

    Attributes:
        per_image: Image id to column to final number, sorted by id; NaN where undefined.
        estimates: Column to mean with interval.
        differences: Column to mean of this row minus the baseline over their common images; none
            for the baseline itself.
        set_values: Numbers of the whole set; see `ImageMetric.set_values`.
        curve: (m,) the metric's curve, where it has one.
    """

    per_image: Mapping[str, Mapping[str, float]]
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    set_values: Mapping[str, float]
    curve: Tensor | None


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
                    "images": len(row.per_image),
                    "mean": {c: _estimate(e) for c, e in row.estimates.items()},
                    "minus_baseline": {c: _estimate(e) for c, e in row.differences.items()},
                    "set_values": dict(row.set_values),
                }
                for name, row in self.rows.items()
            },
        }


def summarise(
    name: str,
    metric: ImageMetric,
    records: Mapping[str, Mapping[str, ImageScore]],
    baseline: str | None,
    bootstrap: Bootstrap,
) -> MetricSummary:
    """The table of one metric.

    Args:
        name: The metric's name.
        metric: The metric.
        records: Row to image id to score, rows in table order, at least one.
        baseline: The row that the others are compared with; None, or a row that this table does
            not have, takes the first row that is not a reference row, or else the first.
        bootstrap: Makes the intervals.
    """
    finished = {row: metric.finalize(scores) for row, scores in records.items()}
    if baseline is None or baseline not in finished:
        others = [row for row in finished if row not in metric.reference_rows]
        baseline = (others or list(finished))[0]
    columns = [column.name for column in metric.columns]
    values = {
        row: {column: {i: numbers[column] for i, numbers in images.items()} for column in columns}
        for row, images in finished.items()
    }
    return MetricSummary(
        name,
        metric,
        baseline,
        {
            row: RowSummary(
                per_image=finished[row],
                estimates={c: bootstrap.mean(values[row][c]) for c in columns},
                differences={
                    c: bootstrap.difference(values[row][c], values[baseline][c])
                    for c in columns
                    if row != baseline
                },
                set_values=metric.set_values(records[row]),
                curve=metric.summary_curve(records[row]),
            )
            for row in finished
        },
        metric.columns,
    )


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(estimate).items()
    }
