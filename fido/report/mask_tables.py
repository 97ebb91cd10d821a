"""Tables of infillers the other way round: a table a number, a row a mask distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fido.evaluation.bootstrap import Estimate
from fido.evaluation.summary import MetricSummary
from fido.metrics.base import Column
from fido.report.tables import interval, markdown


def mask_tables(summaries: Sequence[MetricSummary]) -> str:
    """Markdown: for every number with a direction, mask distributions by infillers.

    The best mean is bold. Numbers of the whole set (set_values) that every distribution has
    follow, without interval.

    Args:
        summaries: Of metrics whose groups of columns are mask distributions; others are left out.
    """
    tables = []
    for summary in summaries:
        for title in dict.fromkeys(c.title for c in summary.columns if c.better and c.group):
            columns = [c for c in summary.columns if c.title == title and c.group]
            lines = [_line(summary, column) for column in columns]
            arrow = {"lower": "↓", "higher": "↑"}[str(columns[0].better)]
            tables.append(_table(f"{title} {arrow}", list(summary.rows), lines))
        tables += _set_tables(summary)
    return "\n".join(tables)


def seconds_table(seconds: Mapping[str, float], rows: int, gradient: float) -> str:
    """Markdown: seconds a fill by infiller, and as a share of a pass of the classifier.

    Args:
        seconds: A row's time by infiller.
        rows: Masks that were filled at once.
        gradient: A row's time through the classifier, forward and backward.
    """
    lines = [
        [name, f"{1000 * each:.2f}", f"{each / gradient:.3f}"] for name, each in seconds.items()
    ]
    lines.append(["classifier, forward and backward", f"{1000 * gradient:.2f}", "1.000"])
    head = ["infiller", "ms a mask", "share of the classifier's pass"]
    return _markdown(f"time of a fill, {rows} masks at once", head, lines)


def _line(summary: MetricSummary, column: Column) -> list[str]:
    estimates = {name: row.estimates[column.name] for name, row in summary.rows.items()}
    counts = {e.n for e in estimates.values()}
    best = _best(estimates, column)
    cells = [
        f"**{interval(estimate, column)}**" if name == best else interval(estimate, column)
        for name, estimate in estimates.items()
    ]
    return [column.group, "/".join(map(str, sorted(counts))), *cells]


def _best(estimates: Mapping[str, Estimate], column: Column) -> str | None:
    """The infiller with the best mean; the image as it is takes no part."""
    means = {n: e.mean for n, e in estimates.items() if e.n and n != "input"}
    if not means:
        return None
    return (min if column.better == "lower" else max)(means, key=lambda name: means[name])


def _set_tables(summary: MetricSummary) -> list[str]:
    groups = dict.fromkeys(column.group for column in summary.columns if column.group)
    set_values = {name: row.set_values for name, row in summary.rows.items()}
    kinds = dict.fromkeys(
        key.split("/")[1] for of_row in set_values.values() for key in of_row if "/" in key
    )
    tables = []
    for kind in kinds:
        if kind == "n":
            continue
        lines = []
        for group in groups:
            values = [of_row.get(f"{group}/{kind}") for of_row in set_values.values()]
            counts = {int(e[f"{group}/n"]) for e in set_values.values() if f"{group}/n" in e}
            if any(value is not None for value in values):
                cells = ["-" if value is None else f"{value:.4g}" for value in values]
                lines.append([group, "/".join(map(str, sorted(counts))), *cells])
        tables.append(_table(f"{kind} distance of the sets ↓", list(set_values), lines))
    return tables


def _table(title: str, rows: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return _markdown(title, ["mask", "n", *rows], lines)


def _markdown(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    body = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    escaped = [[markdown(cell) for cell in line] for line in body]
    table = "\n".join("| " + " | ".join(line) + " |" for line in escaped)
    return f"### {title}\n\n{table}\n"
