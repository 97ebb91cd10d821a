"""Where a run's curves and figures are logged beside our own files, which are the truth."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import wandb
from torch import Tensor

from fido.loggers.wandb_key import wandb_logged_in
from fido.runs.observer import Result
from fido.runs.shards import shard_name
from fido.runs.store import Row, file_stem
from fido.runtime.files import write_text


class NullLogger:
    """Logs nothing; the base of the others.

    Args:
        folder: The run's folder.
        settings: The run's whole configuration.
    """

    def __init__(self, folder: str, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pass

    def begin(self, done: int, to_do: int) -> None:
        """See `Observer.begin`."""

    def result(self, result: Result) -> None:
        """See `Observer.result`."""

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""

    def summary(self, summary: Mapping[str, Any]) -> None:
        """The run's summary, after its last image."""

    def measures(self, values: Mapping[str, float]) -> None:
        """Numbers by which runs are compared, by names such as "mean/area"."""

    def scores(self, scores: Path, figures: Mapping[str, Path]) -> None:
        """The table (a CSV file) and the figures by name of an evaluation."""


class CsvRunLogger(NullLogger):
    """`<folder>/curves/<id>.csv`: a line a step, a column a curve."""

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        history = result.explanation.history
        if not history:
            return
        lines = [",".join(("step", *history))]
        for step, values in enumerate(_steps(history)):
            lines.append(",".join((str(step), *map(repr, values.values()))))
        stem = file_stem(result.explanation.key)
        write_text(self.folder / "curves" / f"{stem}.csv", "\n".join(lines) + "\n")


class WandbRunLogger(NullLogger):
    """One W&B run: configuration, curves and figure of every image, scores, summary.

    It is finished whatever happens, with exit code 1 after an error: otherwise the next job of a
    sweep would go on in the same run.

    Args:
        folder: The run's folder; W&B's own files go into `<folder>/wandb`.
        settings: The run's whole configuration.
        project: W&B project.
        mode: "online", "offline", "disabled", or "auto": what WANDB_MODE says, else online where a
            key is at hand (WANDB_API_KEY or netrc), else offline.
        entity: W&B user or team; None is the key's own.
        group: Runs of one sweep share it; None is the folder's name for shards, else no group.
        name: Of the run; None is folder and shard for shards, else W&B chooses.
        tags: Of the run.
        max_images: Curves and figures are logged for so many images; W&B keeps at most 108 images
            a key, and our files hold them all.
        shard: Number of this shard.
        num_shards: Of how many.
    """

    def __init__(
        self,
        folder: str,
        settings: Mapping[str, Any],
        project: str = "fido",
        mode: str = "auto",
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        max_images: int = 100,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        super().__init__(folder, settings)
        if mode == "auto":
            mode = os.environ.get("WANDB_MODE") or ("online" if wandb_logged_in() else "offline")
        if mode not in ("online", "offline", "disabled"):
            raise ValueError(f"logger.mode must be auto, online, offline or disabled, got {mode!r}")
        self.max_images = max_images
        if num_shards != 1:
            group = group or self.folder.name
            name = name or f"{self.folder.name} {shard_name(shard, num_shards)}"
        self._options: dict[str, Any] = {
            "project": project,
            "mode": mode,
            "entity": entity,
            "group": group,
            "name": name,
            "tags": tags,
        }
        self._images = 0
        self._run: Any = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            dir=str(self.folder),
            config=dict(self.settings),
            job_type="explain",
            settings=wandb.Settings(silent=True, console="off"),
            **self._options,
        )
        self._run.define_metric("step")
        for curve in ("loss", "score", "area"):
            self._run.define_metric(f"{curve}/*", step_metric="step")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        wandb.finish(exit_code=0 if kind is None else 1)

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        scores = {f"scores/{k}": v for k, v in result.row.items() if isinstance(v, int | float)}
        self._run.log({**scores, "seconds": result.seconds})
        if self._images >= self.max_images:
            return
        self._images += 1
        history = result.explanation.history
        for step, values in enumerate(_steps(history)):
            named = {f"{name}/{result.sample.id}": value for name, value in values.items()}
            self._run.log({"step": step, **named})
        caption = f"{result.sample.id}: {result.row['target_name']}"
        figure = self.folder / "figures" / f"{file_stem(result.explanation.key)}.png"
        if figure.is_file():
            self._run.log({"explanation": wandb.Image(str(figure), caption=caption)})

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""
        self._run.log({f"{row['status']}": 1})

    def summary(self, summary: Mapping[str, Any]) -> None:
        """See `NullLogger.summary`."""
        self._run.summary.update(dict(summary))

    def measures(self, values: Mapping[str, float]) -> None:
        """See `NullLogger.measures`; top-level keys, because W&B sweeps optimise no others."""
        self._run.log(dict(values))

    def scores(self, scores: Path, figures: Mapping[str, Path]) -> None:
        """See `NullLogger.scores`."""
        with scores.open(newline="", encoding="utf-8") as lines:
            head, *rows = csv.reader(lines)
        self._run.log({"scores": wandb.Table(columns=[*head], data=rows)})
        for name, figure in figures.items():
            self._run.log({f"figures/{name}": wandb.Image(str(figure))})


def _steps(history: Mapping[str, Tensor]) -> Iterator[dict[str, float]]:
    """The values of all curves, step by step."""
    for values in zip(*(curve.tolist() for curve in history.values()), strict=True):
        yield dict(zip(history, values, strict=True))
