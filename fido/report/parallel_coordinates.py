"""All runs of a sweep in one figure: their settings against their scores, a line a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.figure import Figure

from fido.evaluation.summary import MetricSummary
from fido.report.style import INK, QUIET


@dataclass(frozen=True)
class Axis:
    """One upright line of the figure.

    Attributes:
        label: Below it.
        heights: Run to its height in [0, 1]; runs without a value are missing.
        ticks: Height and text of what is written beside it.
    """

    label: str
    heights: Mapping[str, float]
    ticks: Sequence[tuple[float, str]]


def settings_of_name(name: str) -> dict[str, str]:
    """What a run of a sweep is called, as settings: `lime infiller=ca` -> method, infiller."""
    words = [word.partition("=") for word in name.split()]
    method = " ".join(key for key, equals, _ in words if not equals)
    named = {key: value for key, equals, value in words if equals}
    return {"method": method, **named} if method else named


def setting_axis(key: str, values: Mapping[str, str]) -> Axis:
    """The values of a setting at equal distances, numbers in their order."""
    try:
        places = sorted(set(values.values()), key=float)
    except ValueError:
        places = list(dict.fromkeys(values.values()))
    height = {place: i / max(1, len(places) - 1) for i, place in enumerate(places)}
    return Axis(
        key.replace(".", ".\n"),
        {run: height[value] for run, value in values.items()},
        [(height[place], place) for place in places],
    )


def score_axis(summary: MetricSummary, runs: Sequence[str]) -> Axis | None:
    """The means of a metric's first column that has a better end, which is up; None without any."""
    column = next((c for c in summary.columns if c.better is not None), None)
    if column is None:
        return None
    means = {run: summary.rows[run].estimates[column.name].mean for run in runs}
    means = {run: mean for run, mean in means.items() if not math.isnan(mean)}
    if not means:
        return None
    worst, best = min(means.values()), max(means.values())
    if column.better == "lower":
        worst, best = best, worst
    scale = 100 if column.percent else 1
    span = best - worst
    return Axis(
        f"{summary.name.replace('_', ' ')}:\n{column.title}",
        {run: (mean - worst) / span if span else 0.5 for run, mean in means.items()},
        [(at, f"{scale * (worst + at * span):.{column.digits}f}") for at in (0.0, 0.5, 1.0)],
    )


def parallel_coordinates(
    summaries: Sequence[MetricSummary], settings: Mapping[str, Mapping[str, str]]
) -> Figure | None:
    """Settings to the left, scores to the right, better always up.

    Args:
        summaries: Tables that have a row a run; others are left out.
        settings: Run to the settings in which it differs from others.

    Returns:
        The figure, or None where there is nothing to compare: fewer than two runs, no setting that
        differs, no score.
    """
    runs = list(settings)
    keys = list(dict.fromkeys(key for values in settings.values() for key in values))
    whole = [s for s in summaries if set(runs) <= set(s.rows)]
    scores = [axis for s in whole if (axis := score_axis(s, runs)) is not None]
    if len(runs) < 2 or not keys or not scores:
        return None
    left = [setting_axis(k, {r: v[k] for r, v in settings.items() if k in v}) for k in keys]
    axes = [*left, *scores]
    figure = Figure(figsize=(1.9 * len(axes) + 1.2, 4.2), layout="constrained")
    plot = figure.subplots()
    colours = colormaps["tab10" if len(left[0].ticks) <= 10 else "viridis"]
    for run in runs:
        points = [(x, axis.heights[run]) for x, axis in enumerate(axes) if run in axis.heights]
        first = left[0].heights.get(run, 0.0)
        shade = round(first * (len(left[0].ticks) - 1)) if len(left[0].ticks) <= 10 else first
        plot.plot(*zip(*points, strict=True), color=colours(shade), alpha=0.75, lw=1.6)
    for x, axis in enumerate(axes):
        plot.axvline(x, color=QUIET, lw=1, zorder=0)
        for height, text in axis.ticks:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            plot.text(x + 0.04, height, text, fontsize=7, va="center", color=INK, bbox=box)
    plot.set_xticks(range(len(axes)), [axis.label for axis in axes], fontsize=8, color=INK)
    plot.set_xlim(-0.1, len(axes) - 0.5)
    plot.set_yticks([])
    plot.tick_params(axis="x", length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)
    figure.suptitle("a line a run, coloured by the first axis; better is up", fontsize=9, color=INK)
    return figure
