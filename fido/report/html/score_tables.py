"""The tables of a report: from rows, and from the evaluations that lie in the given folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fido.evaluation.bootstrap import Bootstrap
from fido.report.html.photos import Photo, Run, numbers_of
from fido.runtime.files import read_json

log = logging.getLogger(__name__)

ARROWS = {"higher": "↑", "lower": "↓", None: ""}
COLUMNS = {
    "p_original": "p(class) of the photo",
    "p_kept": "p(class), region kept ↑",
    "p_removed": "p(class), region removed ↓",
    "area": "area of the region (share of the photo)",
}

Table = dict[str, Any]
"""`title`, `note`, `head` (texts) and `lines` (lists of texts)."""


def tables_of(folders: Sequence[Path], runs: Sequence[Run], photos: Sequence[Photo]) -> list[Table]:
    """All tables of a report: that of every run's rows, then those of stored evaluations."""
    return [_table_of_rows(runs, photos), *(t for f in folders for t in _stored_tables(f))]


def _table_of_rows(runs: Sequence[Run], photos: Sequence[Photo]) -> Table:
    """Means over photos of what stands in `scores.csv`."""
    ids = {photo.id: i for i, photo in enumerate(photos)}
    sums = np.zeros((len(runs), len(COLUMNS), len(ids)))
    counts = np.zeros_like(sums)
    status: list[dict[str, int]] = [{} for _ in runs]
    for photo in photos:
        for entry in photo.entries:
            word = str(entry.row["status"])
            status[entry.run][word] = status[entry.run].get(word, 0) + 1
            numbers = numbers_of(entry.row) if entry.key is not None else {}
            for column, name in enumerate(COLUMNS):
                if (value := numbers.get(name)) is not None:
                    sums[entry.run, column, ids[photo.id]] += value
                    counts[entry.run, column, ids[photo.id]] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        values = sums / counts  # several results of a photo count as one
    lines = []
    for number, run in enumerate(runs):
        estimates = Bootstrap().means([*values[number]])
        told = ", ".join(f"{count} {word}" for word, count in status[number].items())
        lines.append(
            [run.name, told or "nothing", *(_cell(e.mean, e.low, e.high) for e in estimates)]
        )
    return {
        "title": "Regions",
        "note": "Means over photos with bootstrap 95 % intervals; the region is infilled by one "
        "infiller for all methods (metric region).",
        "head": ["run", "results", *COLUMNS.values()],
        "lines": lines,
    }


def _stored_tables(folder: Path) -> Iterator[Table]:
    """The metrics of every `summary.json` of an evaluation in a folder or directly below it."""
    for path in sorted([folder / "summary.json", *folder.glob("*/summary.json")]):
        if not path.is_file():
            continue
        try:
            metrics = read_json(path).get("metrics", {}).items()
            tables = [_metric_table(f"{name} ({path.parent.name})", one) for name, one in metrics]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is damaged, its tables are left out: %r", path, error)
            continue
        yield from tables


def _metric_table(title: str, metric: Mapping[str, Any]) -> Table:
    columns, baseline = metric["columns"], metric["baseline"]
    head = ["row", "n"]
    for column in columns.values():
        head.append(f"{column['title']} {ARROWS.get(column['better'], '')}".strip())
        if column["better"] and len(metric["rows"]) > 1:
            head.append(f"minus {baseline}")
    lines = []
    for row, content in metric["rows"].items():
        line = [row, str(content["images"])]
        for key, column in columns.items():
            line.append(_estimate(content["mean"].get(key)))
            if column["better"] and len(metric["rows"]) > 1:
                line.append(_estimate(content["minus_baseline"].get(key), sign=True))
        lines.append(line)
    note = "Means over n photos with bootstrap intervals; differences are paired."
    return {"title": title, "note": note, "head": head, "lines": lines}


def _estimate(estimate: Mapping[str, Any] | None, sign: bool = False) -> str:
    if not estimate or estimate["mean"] is None:
        return ""
    return _cell(estimate["mean"], estimate["low"], estimate["high"], sign)


def _cell(mean: float, low: float | None, high: float | None, sign: bool = False) -> str:
    def number(value: float) -> str:
        return f"{value:{'+' if sign else ''}.4g}"

    if mean != mean:
        return ""
    if low is None or high is None or low != low:
        return number(mean)
    return f"{number(mean)} [{number(low)}, {number(high)}]"
