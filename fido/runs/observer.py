"""What is told of a run while it goes on, and who wants to hear it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fido.records import Explanation, Sample
from fido.runs.region_edit import RegionEdit
from fido.runs.store import Row


@dataclass(frozen=True, eq=False)
class Result:
    """One explained image as observers get it; its files are already on disk."""

    sample: Sample
    explanation: Explanation
    edit: RegionEdit
    row: Row
    figure: str
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
