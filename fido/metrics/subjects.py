"""What metrics score: explanations, infillers, groups of maps.

A metric names its subject, and an evaluation asks the subject for the rows of its tables and for
what is scored on an image. A new kind of subject is a class here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from fido.infillers.base import Infiller
from fido.masks.baseline_maps import reference_explanations
from fido.records import Explanation, Key, Sample

INPUT = "input"
"""The row of an infiller's table that leaves the image as it is."""


@dataclass(frozen=True, eq=False)
class ComparedRows:
    """What is compared.

    Attributes:
        stores: Names of rows that are stores of explanations, each of one method.
        infillers: Row name to infiller, for metrics of infillers.
        groups: Row name to names of stores whose maps are compared with each other, for metrics
            of maps; the first of a group is its reference.
        reference_rows: Rows without an explainer that are shown, of those that a metric offers;
            see `fido.masks.baseline_maps`.
        seed: Of the reference rows.
    """

    stores: Collection[str] = ()
    infillers: Mapping[str, Infiller] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reference_rows: Sequence[str] = ()
    seed: int = 0


class ScoredImage(Protocol):
    """One image as an evaluation shows it to a subject."""

    @property
    def sample(self) -> Sample:
        """The image; its target is the class that was explained."""
        ...

    @property
    def key(self) -> str:
        """Differs where the image, its boxes or its label differ."""
        ...

    def explanations(self, store: str) -> Sequence[Explanation]:
        """All explanations of this image in a store, by target and seed."""
        ...

    def infiller_key(self, row: str) -> str | None:
        """Differs where an infiller's settings or weights differ; None for no infiller."""
        ...


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one score is made of.

    Attributes:
        key: What the score is of.
        arguments: Arguments of the metric's `score`; of several, the mean of the scores counts,
            and without any no number is defined.
        depends_on: All that determines the score beside the metric itself.
        store: The store that keeps the score, with its explanation; None: the evaluation does.
    """

    key: Key
    arguments: Sequence[tuple[Any, ...]]
    depends_on: Sequence[Tensor | str | float | int | None]
    store: str | None = None


class LeftOutError(ValueError):
    """An image cannot be scored for a row; the message says why, and such images are counted."""


class Subject(ABC):
    """What a metric scores.

    Attributes:
        reference_rows: Rows of its tables that belong to no method and are never a baseline.
    """

    reference_rows: Sequence[str] = ()

    @abstractmethod
    def rows(self, compared: ComparedRows) -> list[str]:
        """The rows of a table, in order."""

    @abstractmethod
    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """What is scored for one row and image; nothing where the row has nothing of the image.

        Raises:
            LeftOutError: If the row has something of the image, but not all that is needed.
        """


@dataclass(frozen=True)
class Explanations(Subject):
    """`score(sample, explanation)`; rows are methods, after rows without an explainer.

    Attributes:
        reference_rows: Those of `fido.masks.baseline_maps` that the metric offers.
    """

    reference_rows: Sequence[str] = ()

    def rows(self, compared: ComparedRows) -> list[str]:
        """See `Subject.rows`."""
        shown = [row for row in self.reference_rows if row in compared.reference_rows]
        return [*shown, *compared.stores]

    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """See `Subject.inputs`; an explanation a target and seed."""
        sample, seed = image.sample, compared.seed
        if row not in compared.stores:
            maps = [(sample, one) for one in reference_explanations(row, sample, seed)]
            return [Inputs(_key(sample, seed), maps, (image.key, seed, sample.target))]
        return [
            Inputs(
                Key(one.id, one.target, one.seed),
                [(sample, one)],
                # Another image may have the same map of what changed.
                (
                    image.key,
                    one.saliency,
                    one.threshold,
                    one.target,
                    *([] if one.counterfactual is None else [one.counterfactual]),
                ),
                store=row,
            )
            for one in image.explanations(row)
        ]


@dataclass(frozen=True)
class Infillers(Subject):
    """`score(sample, infiller)`; rows are infillers.

    Attributes:
        shows_input: Whether a first row has the image as it is, scored as the infiller None.
    """

    shows_input: bool = True

    def rows(self, compared: ComparedRows) -> list[str]:
        """See `Subject.rows`."""
        return [*([INPUT] if self.shows_input else []), *compared.infillers]

    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """See `Subject.inputs`."""
        sample = image.sample
        arguments = [(sample, compared.infillers.get(row))]
        return [
            Inputs(_key(sample, compared.seed), arguments, (image.key, image.infiller_key(row)))
        ]


class MapGroups(Subject):
    """`score(image_id, maps)`, two or more maps (1, h, w) of one image; rows are groups of runs.

    The first explanations of all runs are compared with each other, the second ones, and so on,
    by target and seed.
    """

    def rows(self, compared: ComparedRows) -> list[str]:
        """See `Subject.rows`."""
        return [name for name, group in compared.groups.items() if len(group) > 1]

    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """See `Subject.inputs`."""
        return [
            Inputs(key, [(key.image_id, maps)], maps)
            for key, maps in _maps(image, compared.groups[row])
        ]


class CounterfactualGroups(Subject):
    """`score(image_id, images)`, two or more counterfactuals of one photo; rows are groups of runs.

    All of a group that have one target are compared: of several runs, and of several seeds in one
    folder. Images are (n, 3, h, w) uint8.
    """

    def rows(self, compared: ComparedRows) -> list[str]:
        """See `Subject.rows`."""
        return list(compared.groups)

    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """See `Subject.inputs`; one a target."""
        found: dict[int, list[Explanation]] = {}
        for store in compared.groups[row]:
            for one in image.explanations(store):
                if one.counterfactual is not None:
                    found.setdefault(one.target, []).append(one)
        several = {target: those for target, those in found.items() if len(those) > 1}
        if found and not several:
            raise LeftOutError("one counterfactual only")
        inputs = []
        for target, those in sorted(several.items()):
            images = [one.counterfactual for one in those if one.counterfactual is not None]
            key = Key(image.sample.id, target, those[0].seed)
            inputs.append(Inputs(key, [(image.sample.id, torch.stack(images))], images))
        return inputs


class MapPairs(Subject):
    """`score(image_id, reference, map)`; rows are the runs of a group but its first.

    The group's first run is the reference.
    """

    def rows(self, compared: ComparedRows) -> list[str]:
        """See `Subject.rows`."""
        return [name for group in compared.groups.values() for name in group[1:]]

    def inputs(self, row: str, image: ScoredImage, compared: ComparedRows) -> list[Inputs]:
        """See `Subject.inputs`."""
        reference = next(group[0] for group in compared.groups.values() if row in group[1:])
        return [
            Inputs(key, [(key.image_id, *maps)], maps)
            for key, maps in _maps(image, [reference, row])
        ]


def _key(sample: Sample, seed: int) -> Key:
    """The key of what has no explainer; a photo without a target has -1."""
    return Key(sample.id, -1 if sample.target is None else sample.target, seed)


def _maps(image: ScoredImage, stores: Sequence[str]) -> list[tuple[Key, list[Tensor]]]:
    """The maps of several stores that are compared, with the last store's key."""
    explained = [image.explanations(store) for store in stores]
    if not any(explained):
        return []
    if len({len(explanations) for explanations in explained}) > 1:
        raise LeftOutError("not in all runs compared")
    return [
        (Key(group[-1].id, group[-1].target, group[-1].seed), [one.saliency for one in group])
        for group in zip(*explained, strict=True)
    ]
