"""What one setting of a sweep changes, everything else equal, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fido.evaluation.bootstrap import Bootstrap, Estimate
from fido.evaluation.frame import image_values
from fido.evaluation.summary import MetricSummary
from fido.metrics.base import Column


@dataclass(frozen=True)
class Contrast:
    """The paired difference between two runs of a sweep that differ in one setting.

    Attributes:
        rest: What both runs share: their other settings, in one line.
        before: The setting's value in the first run.
        after: Its value in the second.
        metric: Name of the metric.
        column: The number.
        first: Mean of the first run over its images.
        difference: The second run minus the first, over the images that both have.
    """

    rest: str
    before: str
    after: str
    metric: str
    column: Column
    first: Estimate
    difference: Estimate


def contrasts(
    summaries: Sequence[MetricSummary],
    frame: pd.DataFrame,
    settings: Mapping[str, Mapping[str, str]],
    key: str,
    bootstrap: Bootstrap,
) -> list[Contrast]:
    """All pairs of rows that differ in a setting only; the value met first is what others are from.

    Args:
        summaries: The tables; columns without a better direction are left out.
        frame: All scores; see `fido.evaluation.frame.score_frame`.
        settings: Row to its settings.
        key: The setting.
        bootstrap: Makes the intervals.
    """
    pairs = _pairs(settings, key)
    found: list[Contrast] = []
    for summary in summaries:
        columns = {
            i: column for i, column in enumerate(summary.columns) if column.better is not None
        }
        rows = list(summary.rows)
        there = [pair for pair in pairs if pair[0] in summary.rows and pair[1] in summary.rows]
        if not columns or not there:
            continue
        names = [column.name for column in summary.columns]
        values, _ = image_values(frame, summary.name, rows, names)
        for first, second, rest in there:
            a, b = values[rows.index(first)], values[rows.index(second)]
            firsts, differences = bootstrap.means([*a]), bootstrap.means([*(b - a)])
            found += [
                Contrast(
                    rest,
                    settings[first][key],
                    settings[second][key],
                    summary.name,
                    column,
                    firsts[i],
                    differences[i],
                )
                for i, column in columns.items()
            ]
    return found


def _pairs(settings: Mapping[str, Mapping[str, str]], key: str) -> list[tuple[str, str, str]]:
    """(row, other row, what they share), rows of the value met first being the first."""
    groups: dict[str, dict[str, str]] = {}
    for row, of_row in settings.items():
        if key in of_row:
            rest = " ".join(
                value if name == "method" else f"{name}={value}"
                for name, value in of_row.items()
                if name != key
            )
            groups.setdefault(rest, {})[of_row[key]] = row
    values = list(dict.fromkeys(s[key] for s in settings.values() if key in s))
    return [
        (rows[values[0]], rows[value], rest)
        for rest, rows in groups.items()
        for value in values[1:]
        if values[0] in rows and value in rows
    ]
