"""What a sweep leaves beside its jobs: one picture and the tables of all of them."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from fido.app.evaluate import score_sweep
from fido.app.folders import group_name
from fido.app.instantiate import build
from fido.app.report import report_of
from fido.app.sweep_end import at_end
from fido.report.contact_sheet import draw_contact_sheet


def sweep_folder(config: DictConfig) -> Path:
    """The folder of a sweep that begins.

    The names of its jobs' folders are resolved with it, so that jobs find what the command line
    was (see `fido.app.folders.sweep_line`).
    """
    OmegaConf.select(config, "hydra.sweep.subdir")
    return Path(config.hydra.sweep.dir).resolve()


class JobNumber(Callback):
    """Prints `job 2 of 6: infiller=ca seed=1` before every job of a sweep."""

    def __init__(self) -> None:
        self.jobs: int | None = None
        self.common: set[str] = set()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the jobs of the command line."""
        line = list(config.hydra.overrides.task)
        self.jobs = job_count(line)
        parsed = OverridesParser.create().parse_overrides(line)
        # Keys, because Hydra writes values anew: figures=false is figures=False in a job.
        self.common = {one.get_key_element() for one in parsed if not one.is_sweep_override()}

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say which one begins."""
        number = OmegaConf.select(config, "hydra.job.num", default=None)
        if OmegaConf.is_missing(config.hydra.job, "num") or number is None:
            return
        count = f" of {self.jobs}" if self.jobs else ""
        words = config.hydra.overrides.task
        own = [word.lstrip("+") for word in words if word.partition("=")[0] not in self.common]
        print(f"job {number + 1}{count}: {' '.join(own)}", flush=True)


def job_count(overrides: list[str]) -> int | None:
    """How many jobs Hydra's own sweeper makes of a command line; None for ranges of a search."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    swept = [one for one in parsed if one.is_sweep_override()]
    if any(isinstance(one.value(), IntervalSweep) for one in swept):
        return None
    return math.prod(sum(1 for _ in one.sweep_string_iterator()) for one in swept)


class ContactSheet(Callback):
    """Draws `<sweep folder>/contact_sheet.png` when the sweep has ended, also with failed jobs.

    Rows are images, columns the jobs' settings, as far as jobs have left explanations.

    Args:
        max_images: Rows drawn at the most.
    """

    def __init__(self, max_images: int = 12) -> None:
        self.max_images = max_images

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Arrange for the sheet."""
        folder = sweep_folder(config)
        at_end(lambda: self._draw(folder))

    def _draw(self, folder: Path) -> None:
        path = draw_contact_sheet(folder, self.max_images)
        if path is not None:
            print(f"contact sheet: {path}")


class ScoreSweep(Callback):
    """Writes `<sweep folder>/<evaluation.name>` when the sweep has ended, also with failed jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Arrange for the scores."""
        folder = sweep_folder(config)
        if config.get("metrics"):
            at_end(lambda: score_sweep(config, folder))


class SweepReport(Callback):
    """Writes `<sweep folder>/report` when the sweep has ended, also with failed jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Arrange for the report."""
        if config.get("report"):
            folder = sweep_folder(config)
            at_end(lambda: self._write(config, folder))

    def _write(self, config: DictConfig, folder: Path) -> None:
        path = report_of(folder)
        if path is None:
            return
        print(f"report: {path}")
        group = group_name(str(config.hydra.sweep.dir))
        leaf = copy.deepcopy(config.logger)
        if "group" in leaf:
            leaf.group = group
        settings = {"sweep_of": group}
        with build(leaf, folder=str(folder), settings=settings) as logger:
            logger.report(path.parent)
