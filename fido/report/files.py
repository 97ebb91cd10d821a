"""What an evaluation leaves: scores, summary, tables, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.frame import Results, score_frame, wide
from fido.evaluation.summary import MetricSummary, summarise
from fido.report.metric_figure import metric_figure
from fido.report.named_bars import named_bars
from fido.report.style import save_figure
from fido.report.tables import classifier_note, counts_table, latex_table, markdown_table
from fido.runtime.files import atomic_path, write_json, write_text


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The results of an evaluation; its files are on disk.

    Attributes:
        folder: Where they are.
        frame: All scores; see `score_frame`.
        summaries: A table a metric.
        counts: Row to status to number of results.
        classifiers: Row to the name of its classifier, where rows have different ones.
        figures: Metric to PNG.
    """

    folder: Path
    frame: pd.DataFrame
    summaries: Sequence[MetricSummary]
    counts: Mapping[str, Mapping[str, int]]
    classifiers: Mapping[str, str]
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
            **({"classifiers": dict(self.classifiers)} if self.classifiers else {}),
            "metrics": {summary.name: summary.plain() for summary in self.summaries},
        }


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    results: Results,
    compare_to: str | None = None,
    bootstrap: Bootstrap | None = None,
) -> EvaluationResult:
    """Write the scores, `summary.json`, `tables.md`, `tables/*.tex`, `figures/*.png`, `curves/`.

    Args:
        folder: Where they go.
        evaluation: What was scored.
        results: Its result.
        compare_to: The row that others are compared with; see `summarise`.
        bootstrap: Makes the intervals; None takes its defaults.
    """
    bootstrap = bootstrap or Bootstrap()
    frame = score_frame(results)
    summaries = summarise(results, frame, compare_to, bootstrap)
    counts, classifiers = evaluation.counts(), evaluation.classifiers()
    write_frame(folder, frame)
    parts = [part for summary in summaries for part in summary.parts()]
    tables = [markdown_table(part, bootstrap.level) for part in parts]
    notes = [classifier_note(classifiers)] if classifiers else []
    write_text(folder / "tables.md", "\n".join([counts_table(counts), *notes, *tables]))
    figures = {}
    for summary in parts:
        latex = latex_table(summary, bootstrap.level)
        write_text(folder / "tables" / f"{summary.name}.tex", latex)
        if any(row.curve is not None for row in summary.rows.values()):
            write_text(folder / "curves" / f"{summary.name}.csv", curves_csv(summary))
        figure = metric_figure(summary, bootstrap.level)
        figures[summary.name] = folder / "figures" / f"{summary.name}.png"
        save_figure(figure, figures[summary.name], dpi=130)
        bars = named_bars(summary)
        if bars is not None:
            name = f"{summary.name}.names"
            figures[name] = save_figure(bars, folder / "figures" / f"{name}.png", dpi=130)
    evaluated = EvaluationResult(folder, frame, summaries, counts, classifiers, figures)
    write_json(folder / "summary.json", evaluated.plain())
    return evaluated


def write_frame(folder: Path, frame: pd.DataFrame) -> None:
    """Write all scores: `scores.csv`, a line a result, and `scores_long.csv`, a line a number.

    Where pyarrow is installed, `scores.parquet` holds the long table, too.
    """
    for name, table in (("scores.csv", wide(frame)), ("scores_long.csv", frame)):
        with atomic_path(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")
    if find_spec("pyarrow") is not None:
        with atomic_path(folder / "scores.parquet") as temporary:
            frame.to_parquet(temporary, index=False)


def curves_csv(summary: MetricSummary) -> str:
    """The drawn curves: a line a row of the table and point."""
    curves = [
        pd.DataFrame(
            {
                "row": name,
                "x": row.curve[0],
                "y": row.curve[1],
                **({} if row.curve_names is None else {"name": list(row.curve_names)}),
            }
        )
        for name, row in summary.rows.items()
        if row.curve is not None
    ]
    return str(pd.concat(curves).to_csv(index=False, lineterminator="\n"))
