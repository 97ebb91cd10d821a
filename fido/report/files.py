"""What an evaluation leaves: scores, summary, tables, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.evaluation import Evaluation, ScoresByRow
from fido.evaluation.summary import MetricSummary, summarise
from fido.report.metric_figure import metric_figure
from fido.report.style import save_figure
from fido.report.tables import counts_table, latex_table, markdown_table, scores_csv
from fido.runtime.files import write_json, write_text


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The results of an evaluation; its files are on disk.

    Attributes:
        folder: Where they are.
        summaries: A table a metric.
        counts: Row to status to number of images.
        figures: Metric to PNG.
    """

    folder: Path
    summaries: Sequence[MetricSummary]
    counts: Mapping[str, Mapping[str, int]]
    figures: Mapping[str, Path]

    def means(self, row: str) -> dict[str, float]:
        """`metrics/<metric>/<column>` to the mean of one row, without the undefined ones."""
        return {
            f"metrics/{summary.name}/{column}": estimate.mean
            for summary in self.summaries
            if row in summary.rows
            for column, estimate in summary.rows[row].estimates.items()
            if not math.isnan(estimate.mean)
        }

    def plain(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        return {
            "images": {row: dict(counts) for row, counts in self.counts.items()},
            "metrics": {summary.name: summary.plain() for summary in self.summaries},
        }


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    records: ScoresByRow,
    baseline: str | None = None,
    bootstrap: Bootstrap | None = None,
) -> EvaluationResult:
    """Write `scores.csv`, `summary.json`, `tables.md`, `tables/*.tex`, `figures/*.png`, `curves/`.

    Args:
        folder: Where they go.
        evaluation: What was scored.
        records: Its result.
        baseline: The row that others are compared with; see `summarise`.
        bootstrap: Makes the intervals; None takes its defaults.
    """
    bootstrap = bootstrap or Bootstrap()
    summaries = [
        summarise(name, evaluation.metrics[name], rows, baseline, bootstrap)
        for name, rows in records.items()
        if rows
    ]
    counts = evaluation.counts()
    write_text(folder / "scores.csv", scores_csv(summaries))
    parts = [part for summary in summaries for part in summary.parts()]
    tables = [markdown_table(part, bootstrap.level) for part in parts]
    write_text(folder / "tables.md", "\n".join([counts_table(counts), *tables]))
    figures = {}
    for summary in parts:
        latex = latex_table(summary, bootstrap.level)
        write_text(folder / "tables" / f"{summary.name}.tex", latex)
        if any(row.curve is not None for row in summary.rows.values()):
            write_text(folder / "curves" / f"{summary.name}.csv", curves_csv(summary))
        figure = metric_figure(summary, bootstrap.level)
        figures[summary.name] = folder / "figures" / f"{summary.name}.png"
        save_figure(figure, figures[summary.name], dpi=130)
    evaluated = EvaluationResult(folder, summaries, counts, figures)
    write_json(folder / "summary.json", evaluated.plain())
    return evaluated


def curves_csv(summary: MetricSummary) -> str:
    """The drawn curves: a line a point, a column a row of the table."""
    assert summary.metric.curve is not None
    curves = {name: row.curve for name, row in summary.rows.items() if row.curve is not None}
    head = ["x", *('"' + name.replace('"', '""') + '"' for name in curves)]
    lines = [",".join(head)]
    for i, x in enumerate(summary.metric.curve.x):
        points = [float(x), *(float(curve[i]) for curve in curves.values())]
        lines.append(",".join(map(repr, points)))
    return "\n".join(lines) + "\n"
