"""The images that are scored: those of stores, or photos without any explanation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.data.base import PhotoSource
from fido.data.photo import UnreadableImageError
from fido.evaluation.stored_explanations import StoredExplanations
from fido.records import Sample


class Samples(Protocol):
    """Images by id."""

    def ids(self) -> list[str]:
        """All ids, sorted."""
        ...

    def load(self, image_id: str) -> Sample | None:
        """One image; None if it turns out that it is not to be scored."""
        ...

    def counts(self) -> dict[str, dict[str, int]]:
        """Row to status to number of images."""
        ...


class StoredSamples:
    """The images of one or more stores.

    Args:
        stored: Explanations by store.
        names: The stores whose images these are; None takes all.
        only_correct: Leave out images that the explained classifier does not predict as labelled.
        common: Leave out images that one of all stores does not explain, also of those that are
            not named; stores without any explanation do not count.
    """

    def __init__(
        self,
        stored: StoredExplanations,
        names: Sequence[str] | None = None,
        only_correct: bool = False,
        common: bool = False,
    ) -> None:
        self.stored = stored
        self.names = list(stored.stores) if names is None else list(names)
        self.only_correct = only_correct
        self.common = common
        self._wrong: set[str] = set()
        self._other_class: dict[str, set[str]] = {name: set() for name in self.names}

    def ids(self) -> list[str]:
        """See `Samples.ids`: images that any store explains, or all of those that explain some."""
        ids = set[str]().union(*(self.stored.images(name) for name in self.names))
        if self.common:
            # A job that failed before its first map must not empty the tables of all others.
            images = [self.stored.images(name) for name in self.stored.stores]
            ids = ids.intersection(*(explained for explained in images if explained))
        return sorted(ids)

    def load(self, image_id: str) -> Sample | None:
        """See `Samples.load`; None if no store holds the image.

        Raises:
            ValueError: If two stores hold different pixels, boxes or labels under the id.
        """
        first: tuple[str, Sample] | None = None
        for name in self.names:
            if not self.stored.keys(name, image_id):
                continue
            sample = self.stored.sample(name, image_id)
            if first is None:
                first = name, sample
            elif not torch.equal(first[1].image, sample.image):
                raise ValueError(
                    f"{image_id}: {name!r} and {first[0]!r} explain different pixels, so their "
                    "scores cannot be compared; were they made with another data.resize?"
                )
            else:
                first = first[0], self._together(first, (name, sample))
                if first[1].target != sample.target:
                    self._other_class[name].add(image_id)
        if first is None:
            return None
        name, sample = first
        if self.only_correct:
            row = self.stored.stores[name].row(self.stored.keys(name, image_id)[0])
            if row["predicted"] != sample.label:
                self._wrong.add(image_id)
                return None
        return sample

    def _together(self, first: tuple[str, Sample], other: tuple[str, Sample]) -> Sample:
        """The first store's image with the label and boxes that only the other one knows."""
        known, new = first[1], other[1]
        for what, a, b in (
            ("labels", known.label, new.label),
            ("boxes", _plain(known.boxes), _plain(new.boxes)),
        ):
            if a is not None and b is not None and a != b:
                raise ValueError(
                    f"{known.id}: {other[0]!r} and {first[0]!r} hold different {what} ({b} and "
                    f"{a}); score them in two evaluations, or remake one from the same data"
                )
        return replace(
            known,
            label=new.label if known.label is None else known.label,
            boxes=new.boxes if known.boxes is None else known.boxes,
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """See `Samples.counts`; by store, including what was not explained and why.

        "other class" counts loaded images of which a store explains another class than the first
        store that has them: scores of the explained class then answer different questions.
        """
        counts = {name: self._statuses(name) for name in self.names}
        for name, ids in self._other_class.items():
            if ids:
                counts[name]["other class"] = len(ids)
        if self.common:
            ids = set(self.ids())
            for name in self.names:
                if left_out := len(self.stored.images(name) - ids):
                    counts[name]["left out: not explained by all"] = left_out
        if self._wrong:
            for name in self.names:
                counts[name]["left out: misclassified"] = len(
                    self._wrong & self.stored.images(name)
                )
        return counts

    def _statuses(self, name: str) -> dict[str, int]:
        """Status to number of results; explained ones first."""
        store = self.stored.stores[name]
        other = [str(row["status"]) for row in store.rows_not_explained()]
        return {"explained": len(store), **Counter(other)}


class PhotoSamples:
    """The images of a photo source; the class of interest is their label, or without one the
    prediction.

    Args:
        source: Says which photos, and whether only correctly classified ones count.
        classifier: Tells which are correctly classified.
    """

    def __init__(self, source: PhotoSource, classifier: Classifier) -> None:
        self.source = source
        self.classifier = classifier
        self._entries = {entry.id: entry for entry in source.selected()}
        self._left_out: dict[str, str] = {}

    def ids(self) -> list[str]:
        """See `Samples.ids`."""
        return sorted(self._entries)

    @torch.no_grad()
    def load(self, image_id: str) -> Sample | None:
        """See `Samples.load`.

        Raises:
            UnreadableImageError: If the file cannot be read and the source is set to stop.
        """
        try:
            sample = self.source.load(self._entries[image_id])
        except UnreadableImageError:
            if self.source.on_error == "stop":
                raise
            self._left_out[image_id] = "unreadable"
            return None
        if sample.label is not None and not self.source.only_correct:
            return replace(sample, target=sample.label)
        image = sample.image.unsqueeze(0).to(self.classifier.device)
        predicted = int(self.classifier(image)[0].argmax())
        if self.source.only_correct and predicted != sample.label:
            self._left_out[image_id] = "excluded"
            return None
        return replace(sample, target=predicted)

    def counts(self) -> dict[str, dict[str, int]]:
        """See `Samples.counts`; of what was loaded so far."""
        left_out = Counter(self._left_out.values())
        return {"photos": {"scored": len(self._entries) - left_out.total(), **left_out}}


def _plain(boxes: Tensor | None) -> object:
    return None if boxes is None else boxes.tolist()
