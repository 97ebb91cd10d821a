"""Real photos of every class, as feature vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.data.base import Entry, PhotoSource
from fido.metrics.functional.pooled_features import PooledFeatures
from fido.runtime.digests import digest
from fido.runtime.noise import image_seed

BATCH = 8


class ReferencePhotos:
    """The photos of a source with their classes and features, read when they are first needed.

    A photo's class is its label, or where the source has none the class that the explained
    classifier predicts. Photos are cut as the classifier takes them, as the explained ones are.

    Args:
        source: Makes the source from `size`, `crop_fraction` and `interpolation`.
        classifier: The explained one.
        features: Gives the vectors.
        most: Of more photos so many are taken, chosen by a hash of their ids: the first ones of a
            folder may all be of one class.

    Raises:
        ValueError, OSError: From every method, as the source raised it.
    """

    def __init__(
        self,
        source: Callable[..., PhotoSource],
        classifier: Classifier,
        features: PooledFeatures,
        most: int = 1000,
    ) -> None:
        if most < 1:
            raise ValueError(f"realism.most must be 1 or more, got {most}")
        self.most = most
        self._make = source
        self.classifier = classifier
        self.features = features

    @cached_property
    def source(self) -> PhotoSource:
        """The photos."""
        return self._make(
            size=self.classifier.size,
            crop_fraction=self.classifier.crop_fraction,
            interpolation=self.classifier.interpolation,
        )

    @cached_property
    def entries(self) -> list[Entry]:
        """The photos that are taken, in the source's order."""
        entries = self.source.selected()
        chosen = sorted(entries, key=lambda entry: image_seed(0, entry.id, "reference"))
        taken = {entry.id for entry in chosen[: self.most]}
        return [entry for entry in entries if entry.id in taken]

    def key(self) -> str:
        """Differs where the files do, by their names and sizes in bytes."""
        return digest(*(f"{e.id} {e.label} {_bytes(e)}" for e in self.entries))

    @cached_property
    def _read(self) -> tuple[list[str], NDArray[np.int64], Tensor]:
        entries = self.entries
        ids: list[str] = []
        classes: list[int] = []
        vectors: list[Tensor] = []
        for start in range(0, len(entries), BATCH):
            samples = [self.source.load(entry) for entry in entries[start : start + BATCH]]
            images = torch.stack([(255 * sample.image).round() / 255 for sample in samples])
            predicted = [-1] * len(samples)
            if any(sample.label is None for sample in samples):
                answers = self.classifier.probabilities(images.to(self.classifier.device))
                predicted = answers.argmax(1).tolist()
            for sample, guess in zip(samples, predicted, strict=True):
                ids.append(sample.id)
                classes.append(guess if sample.label is None else sample.label)
            vectors.append(self.features(images))
        return ids, np.array(classes), torch.cat(vectors)

    def of_class(self, index: int, without: Sequence[str] = ()) -> Tensor:
        """(n, d) vectors of a class, without the photos of some ids, in the source's order."""
        ids, classes, vectors = self._read
        left_out = set(without)
        chosen = [int(i) for i in np.flatnonzero(classes == index) if ids[i] not in left_out]
        return vectors[torch.tensor(chosen, dtype=torch.long)]


def _bytes(entry: Entry) -> int:
    return entry.path.stat().st_size if entry.path.is_file() else 0
