"""What is told of a run while it goes on, and who wants to hear it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fido.records import Explanation, RegionEdit, Sample
from fido.runs.result_file import Row


@dataclass(frozen=True, eq=False)
class Result:
    """One explained image as observers get it; its file is already on disk.

    Attributes:
        sample: What was explained.
        explanation: The map; `explanation.key` is what it is stored under.
        edit: The image edited by the explanation's region.
        row: Its numbers and names, as in `scores.csv`.
        seconds: Time that the explanation took.
    """

    sample: Sample
    explanation: Explanation
    edit: RegionEdit
    row: Row
    seconds: float


class Observer(Protocol):
    """Somebody who wants to know of results while a run goes on."""

    def begin(self, done: int, to_do: int) -> None:
        """Before the first image: how many are in the store already, how many are left."""
        ...

    def result(self, result: Result) -> None:
        """After an image has been explained and saved."""
        ...

    def skipped(self, row: Row) -> None:
        """After an image has been noted as not explained."""
        ...
