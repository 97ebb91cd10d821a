"""Which images are one process's, when several write into one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

EXECUTION_KEYS = ("num_shards=", "shard=", "executor=", "executor.")
"""How overrides begin that say who does the work and change nothing in what is made."""

DISPLAY_KEYS = ("logger=", "logger.", "figures=", "report=", "export=", "plots.", "callbacks")
"""How overrides begin that say what is shown of the maps, and to whom."""


@dataclass(frozen=True)
class Shard:
    """Every `count`-th image of a list, beginning with the one at `index`.

    Places are counted in the selected images, not in those that are left to do. So a shard that
    is started again has the same images, and shards differ by one image at most, which hashes of
    ids would not give for some tens of images. Results never depend on the split: what is in the
    store is not done again, whoever has done it.

    Attributes:
        index: 0 ... count - 1.
        count: Number of shards.

    Raises:
        ValueError: If a number is out of range; it speaks of `shard` and `num_shards`.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            raise ValueError(f"num_shards must be a whole number from 1, got {self.count!r}")
        if type(self.index) is not int or not 0 <= self.index < self.count:
            raise ValueError(
                f"shard must be a whole number from 0 to num_shards - 1 = {self.count - 1}, "
                f"got {self.index!r}"
            )

    @property
    def name(self) -> str:
        """`shard_2_of_4`; empty if there is only one."""
        return shard_name(self.index, self.count)

    def share(self, images: Sequence[T]) -> list[T]:
        """This shard's part of a list."""
        return list(images[self.index :: self.count])


def shard_name(index: object, count: object) -> str:
    """See `Shard.name`; takes what a command line says before it is checked."""
    return "" if count == 1 else f"shard_{index}_of_{count}"
