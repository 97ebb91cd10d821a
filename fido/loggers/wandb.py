"""Weights & Biases, which nobody is asked to have: a view of runs beside our own files."""

from __future__ import annotations

import csv
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import wandb
from pytorch_lightning.loggers import Logger, WandbLogger

from fido.loggers.base import NullLogger, steps
from fido.runs.observer import Result
from fido.runs.result_file import Row, file_stem
from fido.runs.shards import shard_name


def wandb_logged_in() -> bool:
    """Whether W&B could log in without asking, at the server that it is set to.

    It reads the same places as W&B, because `wandb.login` would keep what it finds for the process.
    """
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(wandb.setup().settings.base_url).hostname
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(server or "") is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def wandb_mode(mode: str) -> str:
    """A mode in which W&B asks nobody for anything.

    Args:
        mode: "online", "offline", "disabled", or "auto": what WANDB_MODE says, else online where a
            key is at hand (WANDB_API_KEY or netrc), else offline.

    Raises:
        ValueError: If the mode is none of these, or online without a key.
    """
    chosen = mode
    if mode == "auto":
        chosen = os.environ.get("WANDB_MODE") or ("online" if wandb_logged_in() else "offline")
    if chosen not in ("online", "offline", "disabled"):
        raise ValueError(f"logger.mode must be auto, online, offline or disabled, got {chosen!r}")
    if chosen == "online" and not wandb_logged_in():
        raise ValueError(
            "logger.mode=online, and no W&B key here: run `wandb login`, set WANDB_API_KEY, or "
            "give logger.mode=offline, logger=csv or logger=none"
        )
    return chosen


class WandbRunLogger(NullLogger):
    """One W&B run: configuration, curves and figure of every image, scores, summary.

    It is finished whatever happens, with exit code 1 after an error: otherwise the next job of a
    sweep would go on in the same run.

    Args:
        folder: The run's folder; W&B's own files go into `<folder>/wandb`.
        settings: The run's whole configuration.
        project: W&B project.
        mode: See `wandb_mode`.
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
        mode = wandb_mode(mode)
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
        self._curves: set[str] = set()
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
        for curve in sorted(history.keys() - self._curves):
            self._curves.add(curve)
            self._run.define_metric(f"{curve}/*", step_metric="step")
        for step, values in enumerate(steps(history)):
            named = {f"{name}/{result.sample.id}": value for name, value in values.items()}
            self._run.log({"step": step, **named})
        caption = f"{result.sample.id}: {result.row['target_name']}"
        figure = self.folder / "figures" / f"{file_stem(result.explanation.key)}.png"
        if figure.is_file():
            self._run.log({"explanation": wandb.Image(str(figure), caption=caption)})
        counterfactual = result.explanation.counterfactual
        if counterfactual is not None:
            pixels = counterfactual.permute(1, 2, 0).numpy()
            self._run.log({"counterfactual": wandb.Image(pixels, caption=caption)})
        film = figure.with_suffix(".gif")
        if film.is_file():
            self._run.log({"film": wandb.Video(str(film), caption=caption, format="gif")})

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

    def lightning(self) -> WandbLogger:
        """A W&B run of a training; `close` it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mode = self._options["mode"]
        return WandbLogger(save_dir=str(self.folder), offline=mode == "offline", **self._options)


def close(logger: Logger) -> None:
    """End a run of Weights & Biases, so that all of it is on disk or sent."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
