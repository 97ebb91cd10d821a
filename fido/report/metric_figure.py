"""A figure for each metric: means with intervals, the images' spread, curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fido.evaluation.summary import MetricSummary, is_reference
from fido.metrics.base import Column
from fido.report.style import INK, QUIET


def metric_figure(summary: MetricSummary, level: float = 0.95) -> Figure:
    """A panel a column, and where the metric has them its series and its curve.

    Args:
        summary: The metric's table.
        level: Of the intervals, for the caption.
    """
    columns = [column for column in summary.columns if column.better is not None]
    lines = _line_panels(summary)
    names = ["\n".join(textwrap.wrap(name, 26)) for name in summary.rows]
    left = 0.09 * max(len(line) for name in names for line in name.split("\n"))
    tall = 1.2 + 0.36 * len(names)
    # Few panels go into one row; many columns push the curves into a second one.
    stacked = bool(lines) and len(columns) > 2
    wide = left + 2.6 * len(columns)
    size = (
        (max(wide, 4.6 * len(lines) + 1.6), tall + 3.4)
        if stacked
        else (wide + 4.6 * len(lines) + 1.6 * bool(lines), max(tall, 3.4 if lines else 0))
    )
    figure = Figure(figsize=size, layout="constrained")
    if stacked:
        halves: Any = figure.subfigures(2, 1, height_ratios=(tall, 3.4))
        upper, lower = halves
        panels = list(upper.subplots(1, len(columns), squeeze=False)[0])
        rest = list(lower.subplots(1, len(lines), squeeze=False)[0])
    else:
        widths = [2.6] * len(columns) + [4.2] * len(lines)
        every = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
        panels, rest = every[: len(columns)], every[len(columns) :]
    for axes, column in zip(panels, columns, strict=True):
        _column(axes, summary, column)
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [], color=INK)
        axes.tick_params(axis="y", length=0)
    for axes, draw in zip(rest, lines, strict=True):
        draw(axes, summary)
    if rest:
        rest[-1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    title = f"{summary.name.replace('_', ' ')}: means with {level:.0%} intervals, boxes over images"
    # At this size about twelve letters fit an inch.
    lines_of_title = textwrap.wrap(title, int(11.5 * size[0]))
    figure.suptitle("\n".join(lines_of_title), fontsize=10, color=INK)
    return figure


def _line_panels(summary: MetricSummary) -> list[Callable[[Axes, MetricSummary], None]]:
    """What draws the panels with lines, where the metric has any."""
    panels: list[Callable[[Axes, MetricSummary], None]] = []
    if summary.metric.series is not None:
        panels.append(_series)
    if any(row.curve is not None for row in summary.rows.values()):
        panels.append(_curves)
    return panels


def _column(axes: Axes, summary: MetricSummary, column: Column) -> None:
    """One row of the panel a row of the table: a box over the images, the mean on top."""
    scale = 100 if column.percent else 1
    for position, (name, row) in enumerate(summary.rows.items()):
        values = row.values[column.name] * scale
        values = values[~np.isnan(values)]
        if not len(values):
            axes.text(0.5, position, "undefined", color=QUIET, ha="center", va="center",
                      transform=axes.get_yaxis_transform(), fontsize=8)  # fmt: skip
            continue
        if not set(values.tolist()) <= {0, scale}:
            axes.boxplot(
                values,
                positions=[position],
                orientation="horizontal",
                widths=0.6,
                whis=(5, 95),
                showfliers=False,
                manage_ticks=False,
                boxprops={"color": QUIET},
                whiskerprops={"color": QUIET},
                capprops={"color": QUIET},
                medianprops={"color": QUIET},
            )
        estimate = row.estimates[column.name]
        colour = _colours(summary)[name]
        if not math.isnan(estimate.low):
            axes.plot([estimate.low * scale, estimate.high * scale], [position] * 2, color=colour)
        axes.plot(estimate.mean * scale, position, "o", color=colour, ms=5)
    arrow = {"lower": "lower is better", "higher": "higher is better", None: ""}[column.better]
    axes.set_title(f"{column.title}\n{arrow}", fontsize=8.5, color=INK)
    axes.set_ylim(len(summary.rows) - 0.5, -0.5)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _series(axes: Axes, summary: MetricSummary) -> None:
    series = summary.metric.series
    assert series is not None
    x = list(series.x.values())
    for name, row in summary.rows.items():
        estimates = [row.estimates[column] for column in series.x]
        means = [e.mean for e in estimates]
        errors = np.array([[e.mean - e.low, e.high - e.mean] for e in estimates]).T
        axes.errorbar(
            x,
            means,
            yerr=np.nan_to_num(errors),
            color=_colours(summary)[name],
            ls=_style(summary, name),
            capsize=2,
            label=name,
        )
    _label(axes, series.x_title, series.y_title)


def _curves(axes: Axes, summary: MetricSummary) -> None:
    curve = summary.metric.curve
    assert curve is not None
    for name, row in summary.rows.items():
        if row.curve is not None:
            axes.plot(
                *row.curve,
                color=_colours(summary)[name],
                ls=_style(summary, name),
                lw=1.3,
                label=name,
            )
    _label(axes, curve.x_title, curve.y_title)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8.5, color=INK)
    axes.set_ylabel(y, fontsize=8.5, color=INK)
    axes.tick_params(labelsize=8)
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def _colours(summary: MetricSummary) -> dict[str, object]:
    """A colour a row: greys for rows without an explainer, a palette for the others."""
    palette = colormaps["tab10" if len(summary.rows) <= 14 else "tab20"]
    others = [name for name in summary.rows if not is_reference(name, summary.metric)]
    colours: dict[str, object] = {n: palette(i % palette.N) for i, n in enumerate(others)}
    return {name: colours.get(name, "#777777") for name in summary.rows}


def _style(summary: MetricSummary, name: str) -> object:
    """Rows without an explainer are told apart by their dashes."""
    references = [row for row in summary.rows if is_reference(row, summary.metric)]
    if name not in references:
        return "-"
    dashes = [(0, (1, 1)), (0, (4, 2)), (0, (6, 1, 1, 1)), (0, (2, 2))]
    return dashes[references.index(name) % len(dashes)]
