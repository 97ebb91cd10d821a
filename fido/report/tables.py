"""Tables of scores in Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from fido.evaluation.bootstrap import Estimate
from fido.evaluation.summary import MetricSummary, RowSummary
from fido.metrics.base import Column
from fido.runtime.names import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}

_MARKDOWN = {"<": "&lt;", ">": "&gt;", **{c: f"\\{c}" for c in "\\|`*"}}


def markdown_table(summary: MetricSummary, level: float = 0.95) -> str:
    """A metric's table with intervals, numbers of images and differences from the baseline."""
    head, lines = _cells(summary)
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    escaped = [[markdown(cell) for cell in row] for row in rows]
    table = "\n".join("| " + " | ".join(row) + " |" for row in escaped)
    return f"### {summary.name}\n\n{table}\n\n{_note(summary, level)}\n"


def latex_table(summary: MetricSummary, level: float = 0.95) -> str:
    """The same table for LaTeX with the package booktabs."""
    head, lines = _cells(summary)
    body = [" & ".join(map(_latex, row)) + r" \\" for row in lines]
    return "\n".join(
        [
            f"% {summary.name}; needs \\usepackage{{booktabs}}",
            r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
            r"\toprule",
            " & ".join(map(_latex, head)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            f"% {printable(_note(summary, level))}",
            "",
        ]
    )


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many results of every row were explained, failed or left out."""
    statuses = list(dict.fromkeys(status for row in counts.values() for status in row))
    lines = [["row", *statuses], ["---", *["---:"] * len(statuses)]]
    lines += [
        [markdown(name), *(str(row.get(s, 0)) for s in statuses)] for name, row in counts.items()
    ]
    return "### images\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def classifier_note(classifiers: Mapping[str, str]) -> str:
    """Says which rows are scored with which classifier.

    Args:
        classifiers: Row to the name of its classifier.
    """
    rows: dict[str, list[str]] = {}
    for row, classifier in classifiers.items():
        rows.setdefault(classifier, []).append(row)
    lines = [
        f"- {markdown(classifier)}: {', '.join(map(markdown, names))}"
        for classifier, names in rows.items()
    ]
    note = "Rows explain different classifiers, and each is scored with its own:"
    return "\n".join([note, "", *lines]) + "\n"


def interval(estimate: Estimate, column: Column, sign: bool = False) -> str:
    """A mean with its interval in the column's unit and digits; a dash where undefined."""
    if estimate.n == 0:
        return "-"
    scale = 100 if column.percent else 1

    def number(value: float) -> str:
        return f"{value * scale:{'+' if sign else ''}.{column.digits}f}"

    if math.isnan(estimate.low):
        return number(estimate.mean)
    return f"{number(estimate.mean)} [{number(estimate.low)}, {number(estimate.high)}]"


def _cells(summary: MetricSummary) -> tuple[list[str], list[list[str]]]:
    arrows = {"lower": " ↓", "higher": " ↑", None: ""}
    head = ["row", "n"]
    for column in summary.columns:
        head.append(column.title + arrows[column.better])
        if column.better is not None and len(summary.rows) > 1:
            head.append(f"minus {summary.baseline}")
    return head, [_line(summary, name, row) for name, row in summary.rows.items()]


def _line(summary: MetricSummary, name: str, row: RowSummary) -> list[str]:
    counts = [row.estimates[column.name].n for column in summary.columns]
    line = [name, str(max(counts)) if counts else "0"]
    for column, n in zip(summary.columns, counts, strict=True):
        cell = interval(row.estimates[column.name], column)
        # A column with fewer images than the row says so.
        line.append(cell if n in (0, max(counts)) else f"{cell} (n {n})")
        if column.better is not None and len(summary.rows) > 1:
            change = row.differences.get(column.name)
            line.append("" if change is None else _difference(change, column, max(counts)))
    return line


def _difference(change: Estimate, column: Column, n: int) -> str:
    cell = interval(change, column, sign=True)
    return cell if change.n in (0, n) else f"{cell} (n {change.n})"


def _note(summary: MetricSummary, level: float) -> str:
    set_values = [
        f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in row.set_values.items())
        for name, row in summary.rows.items()
        if row.set_values
    ]
    note = f"Means over n images with bootstrap {level:.0%} intervals; differences are paired."
    return " ".join([note, *(f"{numbers}." for numbers in set_values)])


def markdown(text: str) -> str:
    """A cell's text, letter by letter: no column, tag, link or emphasis begins in it."""
    entities = re.sub(r"&(?=#?\w+;)", "&amp;", printable(text))
    escaped = "".join(_MARKDOWN.get(char, char) for char in entities)
    return re.sub(r"\](?=[(\[])", r"\\]", escaped)  # "[text](address)"; intervals stay as they are


def _latex(text: str) -> str:
    special = {"↓": r"$\downarrow$", "↑": r"$\uparrow$"}
    return "".join(_LATEX.get(c, special.get(c, c)) for c in text)
