"""What a sweep leaves beside its jobs: one picture of all of them."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fido.report.contact_sheet import draw_contact_sheet
from fido.runs.runner import AVERAGED


def at_end(act: Callable[[], object]) -> None:
    """Have something done when the sweep has ended; with failed jobs Hydra calls no hook then.

    If it fails, or is interrupted, the process ends with exit code 1, after what else was arranged
    here.
    """
    if not _FAILED:
        # Registered first, so called last. An exit code can no longer be set, only taken.
        atexit.register(lambda: os._exit(1) if any(_FAILED) else None)
        _FAILED.append(False)
    atexit.register(_do, act)


_FAILED: list[bool] = []


def _do(act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException as error:
        _FAILED.append(True)
        plain = os.environ.get("HYDRA_FULL_ERROR") != "1"
        if plain and isinstance(error, KeyboardInterrupt):
            print("interrupted; evaluate.py store=DIR goes on with the scores", file=sys.stderr)
        elif plain and isinstance(error, ValueError | OSError | ImportError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()


Returned = float | None | list[float | None]
"""What a job tells a sweeper that searches (Optuna)."""


def check_optimized_metric(wanted: str | Sequence[str] | None) -> None:
    """Refuse what a job cannot return, before it has begun.

    Raises:
        ValueError: Names what it can.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted or [])
    if not names or not set(names) <= set(AVERAGED):
        given = ", ".join(names)
        raise ValueError(f"optimized_metric={given}: give one or a list of {', '.join(AVERAGED)}")


def optimized_values(summary: Mapping[str, Any], wanted: str | Sequence[str]) -> Returned:
    """Means over a run's images, one or a list of two or more; None without an image.

    Args:
        summary: See `Runner.run`.
        wanted: A name or names; see `check_optimized_metric`.
    """
    means: Mapping[str, float | None] = summary["mean"]
    values = [means.get(name) for name in ([wanted] if isinstance(wanted, str) else wanted)]
    return values[0] if len(values) == 1 else values


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
        folder = Path(config.hydra.sweep.dir).resolve()
        at_end(lambda: self._draw(folder))

    def _draw(self, folder: Path) -> None:
        path = draw_contact_sheet(folder, self.max_images)
        if path is not None:
            print(f"contact sheet: {path}")
