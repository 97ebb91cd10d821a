"""Two scores of all runs against each other, and those that no other run beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fido.evaluation.bootstrap import Estimate
from fido.evaluation.summary import MetricSummary
from fido.metrics.base import Column
from fido.report.style import INK, QUIET, save_figure
from fido.runtime.files import atomic_path


@dataclass(frozen=True)
class Point:
    """One run.

    Attributes:
        row: Its name.
        x: Its first score.
        y: Its second.
        front: Whether no other run is at least as good in both and better in one.
    """

    row: str
    x: Estimate
    y: Estimate
    front: bool


def pareto_points(
    xs: Mapping[str, Estimate], ys: Mapping[str, Estimate], signs: tuple[int, int]
) -> list[Point]:
    """The runs with both scores, in their order.

    Args:
        xs: Run to its first score.
        ys: Run to its second.
        signs: For each score 1 where higher is better, -1 where lower is.
    """
    rows = [r for r in xs if r in ys and not math.isnan(xs[r].mean) and not math.isnan(ys[r].mean)]
    values = {row: (signs[0] * xs[row].mean, signs[1] * ys[row].mean) for row in rows}

    def beaten(row: str) -> bool:
        x, y = values[row]
        return any(a >= x and b >= y and (a, b) != (x, y) for a, b in values.values())

    return [Point(row, xs[row], ys[row], not beaten(row)) for row in rows]


def write_pareto(
    folder: Path, summaries: Sequence[MetricSummary], scores: Sequence[str]
) -> Path | None:
    """Write `figures/pareto.png` and `pareto.csv`.

    Args:
        folder: Of the evaluation.
        summaries: Its tables.
        scores: Two scores, "metric.column" each.

    Returns:
        The figure; None where fewer than two runs have both scores.

    Raises:
        ValueError: If there are not two, or one is not among the tables or has no better end.
    """
    if len(scores) != 2:
        raise ValueError(f"evaluation.pareto needs two scores, metric.column each; got {scores}")
    (first, xs), (second, ys) = (_score(summaries, score) for score in scores)
    signs = tuple(1 if column.better == "higher" else -1 for column in (first, second))
    points = pareto_points(xs, ys, (signs[0], signs[1]))
    if len(points) < 2:
        return None
    with atomic_path(folder / "pareto.csv") as temporary:
        pd.DataFrame(
            [
                {"row": p.row, scores[0]: p.x.mean, scores[1]: p.y.mean, "front": p.front}
                for p in points
            ]
        ).to_csv(temporary, index=False, lineterminator="\n")
    path = folder / "figures" / "pareto.png"
    save_figure(pareto_figure(points, first, second), path, dpi=130)
    return path


def pareto_figure(points: Sequence[Point], first: Column, second: Column) -> Figure:
    """Runs as points with their intervals; the front as a line, its runs named."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    plot = figure.subplots()
    for point in points:
        colour = INK if point.front else QUIET
        (x, x_low, x_high), (y, y_low, y_high) = (
            _scaled(estimate, column) for estimate, column in ((point.x, first), (point.y, second))
        )
        plot.errorbar(
            x,
            y,
            xerr=[[x - x_low], [x_high - x]],
            yerr=[[y - y_low], [y_high - y]],
            fmt="o" if point.front else ".",
            color=colour,
            lw=0.8,
        )
        plot.annotate(
            point.row,
            (x, y),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
    front = sorted((_scaled(p.x, first)[0], _scaled(p.y, second)[0]) for p in points if p.front)
    plot.plot([x for x, _ in front], [y for _, y in front], color=INK, lw=1, alpha=0.6)
    words = {"lower": "lower is better", "higher": "higher is better", None: ""}
    plot.set_xlabel(f"{first.title} ({words[first.better]})", color=INK)
    plot.set_ylabel(f"{second.title} ({words[second.better]})", color=INK)
    plot.spines[["top", "right"]].set_visible(False)
    figure.suptitle("runs that no other beats in both are joined", fontsize=9, color=INK)
    return figure


def _score(summaries: Sequence[MetricSummary], score: str) -> tuple[Column, dict[str, Estimate]]:
    metric, _, name = score.partition(".")
    for summary in summaries:
        for column in summary.columns:
            if (summary.name, column.name) == (metric, name) and column.better is not None:
                return column, {row: s.estimates[name] for row, s in summary.rows.items()}
    known = [f"{s.name}.{c.name}" for s in summaries for c in s.columns if c.better is not None]
    raise ValueError(f"evaluation.pareto: {score} is no score; there are {', '.join(known)}")


def _scaled(estimate: Estimate, column: Column) -> tuple[float, float, float]:
    """Mean and interval in the column's unit; of one image the interval is the mean."""
    scale = 100 if column.percent else 1
    mean = scale * estimate.mean
    if math.isnan(estimate.low):
        return mean, mean, mean
    return mean, scale * estimate.low, scale * estimate.high
