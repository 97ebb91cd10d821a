"""Bars with names below them, a panel a row of a table."""

from __future__ import annotations

from matplotlib.figure import Figure

from fido.evaluation.summary import MetricSummary
from fido.report.lines import fitted
from fido.report.style import INK

LONG = 1.6  # inches of a line of a name


def named_bars(summary: MetricSummary) -> Figure | None:
    """The curves of a metric whose points have names, as bars; None if they have none.

    Args:
        summary: The metric's table.

    Source: Agarwal and Nguyen 2020, Figs. 8 and S16.
    """
    rows = {
        name: (row.curve[1], row.curve_names)
        for name, row in summary.rows.items()
        if row.curve is not None and row.curve_names is not None
    }
    curve = summary.metric.curve
    if not rows or curve is None:
        return None
    widest = max(len(names) for _, names in rows.values())
    highest = max(float(heights.max()) for heights, _ in rows.values())
    every = [fitted(name, LONG, 7) for _, names in rows.values() for name in names]
    bar = 0.08 + 0.12 * max(name.count("\n") + 1 for name in every)
    figure = Figure(figsize=(max(5.0, bar * widest + 1), 3.4 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, (row, (heights, names)) in zip(panels, rows.items(), strict=True):
        axes.bar(range(len(heights)), heights, color="#4393c3")
        axes.set_xticks(
            range(len(names)),
            [fitted(n, LONG, 7) for n in names],
            rotation=90,
            fontsize=7,
            color=INK,
        )
        axes.set_ylim(0, highest * 1.05)
        axes.set_ylabel(curve.y_title, fontsize=8.5, color=INK)
        axes.set_title(row, fontsize=9, color=INK)
        axes.tick_params(axis="y", labelsize=8)
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
