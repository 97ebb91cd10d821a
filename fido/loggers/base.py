"""What a logger of runs hears; our own files are the truth, loggers a view of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pytorch_lightning.loggers import Logger
from torch import Tensor

from fido.explainers.base import Progress
from fido.runs.observer import Result
from fido.runs.result_file import Row


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

    def progress(
        self, ids: Sequence[str], done: int, total: int, values: Mapping[str, Tensor]
    ) -> None:
        """Newest values while an optimisation goes on; see `fido.explainers.base.Progress`."""

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

    def report(self, folder: Path) -> None:
        """The folder of a finished report, for its tables."""

    def model(self, files: Sequence[Path]) -> None:
        """The files of a network whose training in `lightning`'s trainer has ended."""

    def lightning(self) -> Logger | Literal[False]:
        """What Lightning's trainer logs to in place of this; False for nothing."""
        return False


def steps(history: Mapping[str, Tensor]) -> Iterator[dict[str, float]]:
    """The values of all curves, step by step."""
    for values in zip(*(curve.tolist() for curve in history.values()), strict=True):
        yield dict(zip(history, values, strict=True))


class Listeners:
    """Tells several of an optimisation's progress; may be told of more while it is in use.

    Args:
        *listeners: Called in this order.
    """

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = [*listeners]

    def __call__(
        self, ids: Sequence[str], done: int, total: int, values: dict[str, Tensor]
    ) -> None:
        """See `fido.explainers.base.Progress`."""
        for listener in self.listeners:
            listener(ids, done, total, values)
