"""Curves as CSV files."""

from __future__ import annotations

from pytorch_lightning.loggers import CSVLogger

from fido.loggers.base import NullLogger, steps
from fido.runs.observer import Result
from fido.runs.result_file import file_stem
from fido.runtime.files import write_text


class CsvRunLogger(NullLogger):
    """`<folder>/curves/<id>.csv`: a line a step, a column a curve."""

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        history = result.explanation.history
        if not history:
            return
        lines = [",".join(("step", *history))]
        for step, values in enumerate(steps(history)):
            lines.append(",".join((str(step), *map(repr, values.values()))))
        stem = file_stem(result.explanation.key)
        write_text(self.folder / "curves" / f"{stem}.csv", "\n".join(lines) + "\n")

    def lightning(self) -> CSVLogger:
        """`<folder>/curves/version_N/metrics.csv`; N counts the starts of a training."""
        return CSVLogger(save_dir=self.folder, name="curves")
