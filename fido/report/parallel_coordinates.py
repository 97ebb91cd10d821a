"""All runs of a sweep in one figure: their settings against their scores, a line a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib import colormaps
from matplotlib.figure import Figure

from fido.evaluation.summary import MetricSummary
from fido.report.lines import fitted
from fido.report.style import INK, QUIET

SPREAD = 0.12
"""Width in which the intervals of all runs stand side by side; axes are 1 apart."""


@dataclass(frozen=True)
class Axis:
    """One upright line of the figure.

    Attributes:
        label: Below it.
        heights: Run to its height in [0, 1]; runs without a value are missing.
        ticks: Height and text of what is written beside it.
        intervals: Run to the heights of the lower and upper end of its interval, if it has one.
    """

    label: str
    heights: Mapping[str, float]
    ticks: Sequence[tuple[float, str]]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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
    """A metric's first column that has a better end, which is up; None without any mean.

    The axis reaches from the worst to the best end of the runs' intervals.
    """
    column = next((c for c in summary.columns if c.better is not None), None)
    if column is None:
        return None
    estimates = {run: summary.rows[run].estimates[column.name] for run in runs}
    estimates = {run: one for run, one in estimates.items() if not math.isnan(one.mean)}
    if not estimates:
        return None
    ends = {
        run: (one.mean, one.mean) if math.isnan(one.low) else (one.low, one.high)
        for run, one in estimates.items()
    }
    worst, best = min(low for low, _ in ends.values()), max(high for _, high in ends.values())
    if column.better == "lower":
        worst, best = best, worst
    scale = 100 if column.percent else 1
    span = best - worst

    def height(value: float) -> float:
        return (value - worst) / span if span else 0.5

    return Axis(
        f"{summary.name.replace('_', ' ')}:\n{column.title}",
        {run: height(one.mean) for run, one in estimates.items()},
        [
            (at, f"{scale * (worst + at * span):.{column.digits}f}")
            for at in ((0.0, 0.5, 1.0) if span else (0.5,))
        ],
        {
            run: (min(height(low), height(high)), max(height(low), height(high)))
            for run, (low, high) in ends.items()
            if low < high
        },
    )


def parallel_coordinates(
    summaries: Sequence[MetricSummary],
    settings: Mapping[str, Mapping[str, str]],
    level: float = 0.95,
) -> Figure | None:
    """Settings to the left, scores with their intervals to the right, better always up.

    Args:
        summaries: Tables that have a row a run; others are left out.
        settings: Run to the settings in which it differs from others.
        level: Of the intervals, for the caption.

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
    for place, run in enumerate(runs):
        points = [(x, axis.heights[run]) for x, axis in enumerate(axes) if run in axis.heights]
        first = left[0].heights.get(run, 0.0)
        shade = round(first * (len(left[0].ticks) - 1)) if len(left[0].ticks) <= 10 else first
        plot.plot(*zip(*points, strict=True), color=colours(shade), alpha=0.75, lw=1.6)
        beside = SPREAD * (place / (len(runs) - 1) - 0.5)  # so that bars do not hide each other
        for x, axis in enumerate(axes):
            if run in axis.intervals:
                low, high = axis.intervals[run]
                centre = axis.heights[run]
                ends = [[max(0, centre - low)], [max(0, high - centre)]]
                plot.errorbar(
                    x + beside, centre, yerr=ends, fmt="o", ms=3, lw=1.2, color=colours(shade)
                )
    for x, axis in enumerate(axes):
        plot.axvline(x, color=QUIET, lw=1, zorder=0)
        for height, text in axis.ticks:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            plot.text(
                x + 0.5 * SPREAD + 0.03, height, text, fontsize=7, va="center", color=INK, bbox=box
            )
    plot.set_xticks(range(len(axes)), [axis.label for axis in axes], fontsize=8, color=INK)
    plot.set_xlim(-0.1, len(axes) - 0.5)
    plot.set_yticks([])
    plot.tick_params(axis="x", length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)
    title = f"a line a run, coloured by the first axis; better is up; bars: {level:.0%} intervals"
    figure.suptitle(fitted(title, figure.get_figwidth() - 0.2, 9), fontsize=9, color=INK)
    return figure
