"""What a run shows on the terminal: progress while it goes, a table at its end."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from torch import Tensor

from fido.loggers.estimate import Estimate
from fido.records import Key
from fido.report.about import RunAbout
from fido.report.remarks import doubts
from fido.runs.observer import Result
from fido.runs.result_file import Row, file_stem
from fido.runtime.names import printable

REGION = ("region kept", "region removed", "area")
"""Columns of the table that are of a map's region."""


class Terminal:
    """One progress bar for all images on a terminal, plain lines in a log file.

    It observes the runner (begin, result, skipped) and, as a function, the optimisation.

    Args:
        interactive: Whether to draw bars; None asks whether stdout is a terminal.
        lines: Plain progress lines printed a fit, at most.
        pause: Seconds between two of them, at least: a log of many quick fits stays short.
        shown: Images in the table at the end.
        title: Stands before what is printed at the beginning.
        folder: Of the run.

    Attributes:
        about: Of the run, once it is known: methods without a region have no columns of one.
        fills: What to say of the infillers below columns of a region.
    """

    def __init__(
        self,
        interactive: bool | None = None,
        lines: int = 5,
        pause: float = 1.0,
        shown: int = 20,
        title: str = "",
        folder: str = "",
    ) -> None:
        self.interactive = sys.stdout.isatty() if interactive is None else interactive
        self.lines = lines
        self.pause = pause
        self.shown = shown
        self.title = title
        self.folder = folder
        self.about = RunAbout()
        self.fills = ""
        # A log file has no width; rich's default of 80 columns would cut the table.
        self.console = Console(
            width=None if self.interactive else 120, soft_wrap=False, markup=False, emoji=False
        )
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.1f} of {task.total} images"),
            TimeRemainingColumn(),
            # What is left of the line, so that on a narrow terminal the bar and the time stay.
            TextColumn(
                "{task.fields[values]}", markup=False, table_column=Column(ratio=1, no_wrap=True)
            ),
            console=self.console,
            transient=True,
            expand=True,
        )
        self._task: Any = None
        self._finished = 0
        self._estimate = Estimate()
        self._lines: list[dict[str, str]] = []
        self._results = 0
        self._last_line = -math.inf
        self._cost: dict[str, int] = {}
        self._figure: str | None = None
        self._doubts: list[str] = []

    def __enter__(self) -> Self:
        if self.interactive:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.interactive:
            self._bar.stop()

    def __call__(
        self, ids: Sequence[str], done: int, total: int, values: dict[str, Tensor]
    ) -> None:
        """Progress of one fit: `done` of `total` steps, newest value of each curve and image."""
        said = self._estimate.after_step(done, total, len(ids))
        if said is not None:
            self.console.print(said)
        if self.interactive:
            if self._task is not None and (done % 5 == 0 or done == total):
                # All images are one bar, of which a fit is a piece.
                whole = self._finished + len(ids) * done / total
                self._bar.update(
                    self._task, completed=whole, description=_names(ids), values=_values(values)
                )
        elif done == total or done % max(1, total // self.lines) == 0:
            now = time.monotonic()
            if now - self._last_line >= self.pause:
                self._last_line = now
                words = f"{_names(ids)}: step {done}/{total} {_values(values)}"
                self.console.print(words, style=None)

    def begin(self, done: int, to_do: int) -> None:
        """See `Observer.begin`."""
        title = f"{self.title}: " if self.title else ""
        if self.folder:
            self.console.print(f"folder: {self.folder}", soft_wrap=True)
        self.console.print(f"{title}{done} images done, {to_do} to do")
        self._estimate = Estimate(to_do)
        if self.interactive and to_do:
            self._task = self._bar.add_task("", total=to_do, values="")

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        row = result.row
        self._results += 1
        self._finish_one()
        said = self._estimate.after_image(result.seconds)
        if said is not None:
            self.console.print(said)
        if self._results <= self.shown:
            area = float(result.explanation.region.float().mean())
            self._add(str(row["id"]), row, area, f"{result.seconds:.0f}")
            if result.explanation.counterfactual is None:
                found = doubts(result.explanation, result.edit, self.about)
                self._doubts += [printable(f"{row['id']}: {doubt}") for doubt in found]
        self._cost = result.explanation.cost
        self._figure = self._figure or file_stem(result.explanation.key)

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""
        if row["status"] != "damaged":
            self._finish_one()
        words = printable(f"{row['id']}: {row['status']}: {row['reason']}")
        self.console.print(words, style="yellow")

    def _finish_one(self) -> None:
        self._finished += 1
        if self._task is not None:
            self._bar.update(self._task, completed=self._finished)

    def _add(self, image_id: str, row: Row, area: float | None, seconds: str) -> None:
        cells = _cells(image_id, row, area, seconds)
        left_out = () if self.about.regions else REGION
        self._lines.append({name: cells[name] for name in cells if name not in left_out})

    def say(self, words: str) -> None:
        """Print a line."""
        self.console.print(words, soft_wrap=True)

    def close(
        self,
        folder: str,
        missing: int = 0,
        earlier: Mapping[Key, Row] | None = None,
        explained: int = 0,
    ) -> None:
        """Print a table of the results, images left to other shards, where the files are.

        Args:
            folder: Of the run.
            missing: Images left to other shards.
            earlier: Results of earlier starts, the first `shown` of them, in order; shown where
                this one has none.
            explained: How many there are in all.
        """
        if not self._results and earlier:
            for key, row in earlier.items():
                area = float(row["area"] or 0) if row.get("area") else None
                self._add(key.image_id, row, area, "-")
            self._results = explained
            self._figure = file_stem(next(iter(earlier)))
        if self._lines:
            table = Table()
            for title in self._lines[0]:
                table.add_column(title, overflow="fold")  # a name is never cut
            for line in self._lines:
                table.add_row(*line.values())
            self.console.print(table)
            if self._results > self.shown:
                self.console.print(f"... and {self._results - self.shown} more in scores.csv")
            if not self.about.regions:
                self.say(f"no region: the strongest pixels of {self.about.method} are scattered")
            elif self.fills and REGION[0] in self._lines[0]:
                self.say(self.fills)
            for doubt in self._doubts:
                self.say(doubt)
            if self._cost:
                parts = ", ".join(f"{rows} {name}" for name, rows in self._cost.items())
                self.console.print(f"cost an image, in rows through the networks: {parts}")
            for picture in sorted(
                (Path(folder) / "figures").glob(f"{escape(str(self._figure))}.*")
            ):
                self.console.print(f"picture: {picture}", soft_wrap=True)
        if missing:
            self.console.print(f"images left to other shards: {missing}")
        self.console.print(f"results: {folder}", soft_wrap=True)


def _cells(image_id: str, row: Row, area: float | None, seconds: str) -> dict[str, str]:
    """Title to text of a result's line in the table."""
    what = {"image": printable(image_id), "class": printable(str(row["target_name"]))}
    before = {"p(class)": _number(row, "p_original")}
    if row.get("p_counterfactual") is not None:
        reached = "yes" if float(row["flipped"] or 0) else "no"
        after = {"counterfactual": _number(row, "p_counterfactual"), "class reached": reached}
        return {**what, **before, **after, "mean change": _number(row, "l1"), "s": seconds}
    parts = {"region kept": _number(row, "p_kept"), "region removed": _number(row, "p_removed")}
    share = "-" if area is None else f"{area:.1%}"
    return {**what, **before, **parts, "area": share, "s": seconds}


def _number(row: Row, name: str) -> str:
    value = row.get(name)
    return "-" if value is None else f"{float(value):.3f}"


def _names(ids: Sequence[str]) -> str:
    first = printable(ids[0])
    return first if len(ids) == 1 else f"{first} and {len(ids) - 1} more"


def _values(values: dict[str, Tensor]) -> str:
    return " ".join(f"{name} {float(value.mean()):.3g}" for name, value in values.items())
