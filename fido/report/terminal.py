"""An evaluation on the terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from fido.evaluation.summary import MetricSummary
from fido.report.files import EvaluationResult
from fido.report.tables import interval
from fido.runtime.names import printable

WIDTH = 140
"""Columns of a log file, which has no width of its own."""


class ScoreProgress:
    """Says how many images are scored: every tenth of them, or on one line on a terminal.

    Args:
        interactive: Whether to rewrite one line; None asks whether stdout is a terminal.
    """

    def __init__(self, interactive: bool | None = None) -> None:
        self.interactive = sys.stdout.isatty() if interactive is None else interactive

    def __call__(self, done: int, total: int) -> None:
        """After an image."""
        if self.interactive:
            print(f"\r{done}/{total} images scored", end="\n" if done == total else "", flush=True)
        elif done == total or done % max(1, total // 10) == 0:
            print(f"{done}/{total} images scored", flush=True)


def print_scores(evaluated: EvaluationResult) -> None:
    """Every metric's means with intervals, and where the files are."""
    console = Console(
        width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False, markup=False, emoji=False
    )
    for row, counts in evaluated.counts.items():
        parts = ", ".join(f"{count} {status}" for status, count in counts.items())
        console.print(f"{printable(row)}: {parts}", highlight=False)
    for summary in evaluated.summaries:
        for part in summary.parts():
            console.print(_table(part))
    console.print(f"tables, figures, scores: {evaluated.folder}", soft_wrap=True)


def _table(summary: MetricSummary) -> Table:
    titles = (column.title for column in summary.columns)
    table = Table("row", "n", *titles, title=summary.name)
    for name, row in summary.rows.items():
        estimates = [row.estimates[column.name] for column in summary.columns]
        pairs = zip(estimates, summary.columns, strict=True)
        cells = [interval(estimate, column) for estimate, column in pairs]
        table.add_row(printable(name), str(max(e.n for e in estimates)), *cells)
    return table
