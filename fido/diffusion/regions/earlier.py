"""Results of an earlier run, by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch

from fido.diffusion.regions.base import NoRegionError
from fido.records import Explanation, Key, Sample


class Results(Protocol):
    """What of a `fido.runs.store.ResultsStore` regions are made of."""

    def by_image(self) -> dict[str, list[Key]]:
        """Image id to the keys of its results."""
        ...

    def load(self, key: Key) -> Explanation:
        """The result of a key."""
        ...

    def sample(self, key: Key) -> Sample:
        """What was explained."""
        ...


class EarlierResults:
    """Finds the one result of an image in an earlier run.

    Args:
        store: Opens the folder of a run.
        folder: Of the run.
        target: Class that the result must be of; None takes an image's only class.
        seed: Of the result; None takes an image's only one.
        option: The setting that all this belongs to, for errors.

    Raises:
        FileNotFoundError: If the run left no results.
    """

    def __init__(
        self,
        store: Callable[[str], Results],
        folder: str,
        target: int | None = None,
        seed: int | None = None,
        option: str = "explainer.region",
    ) -> None:
        # Opening a store makes its folder.
        if not any(Path(folder).glob("explanations/*.safetensors")):
            raise FileNotFoundError(f"{option}.folder: {folder} holds no explanations")
        self.store = store(folder)
        self.folder = folder
        self.target = target
        self.seed = seed
        self.option = option
        self.keys = self.store.by_image()

    def of(self, sample: Sample) -> Explanation:
        """The result of an image.

        Raises:
            NoRegionError: If there is none of it.
            ValueError: If there are several, or it is of other pixels.
        """
        keys = [key for key in self.keys.get(sample.id, []) if self._wanted(key)]
        if not keys:
            raise NoRegionError(f"{self.folder} has no result of this image")
        if len(keys) > 1:
            raise ValueError(
                f"{self.folder} has {len(keys)} results of {sample.id!r}: {_listed(keys)}; say "
                f"which by {self.option}.target and {self.option}.seed"
            )
        explained = self.store.sample(keys[0]).image
        if explained.shape != sample.image.shape or not torch.equal(
            (255 * explained).round(), (255 * sample.image).round()
        ):
            raise ValueError(
                f"{self.folder}: {sample.id!r} was explained with other pixels; give the run's "
                "classifier and data settings, data.resize above all"
            )
        return self.store.load(keys[0])

    def _wanted(self, key: Key) -> bool:
        return self.target in (None, key.target) and self.seed in (None, key.seed)


def _listed(keys: Sequence[Key]) -> str:
    return ", ".join(f"class {key.target} seed {key.seed}" for key in keys[:4])
