"""What a metric measured: on one image, and on a set of them column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageScore:
    """What a metric measured on one image.

    Attributes:
        values: The metric's `recorded` numbers by name; NaN, or missing, where the number is not
            defined for this image (no boxes, say).
        curve: (m,) numbers, for metrics with a curve.
        features: Feature vectors (d,) by name, for metrics of sets of images; all of one length.
    """

    values: Mapping[str, float]
    curve: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ScoreSet:
    """What a metric measured on n images, an array a number.

    Attributes:
        ids: n image ids; an image that was scored for two targets or seeds is there twice.
        values: Name to (n,) numbers, NaN where undefined.
        curve: (n, m) curves, NaN for images without one; None if none has one.
        features: Name to (n, d) float32 feature vectors, NaN for images without one.
    """

    ids: Sequence[str]
    values: Mapping[str, Array]
    curve: Array | None = None
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, name: str) -> Array:
        """(n,) the numbers of this name; NaN if it was recorded for no image."""
        return self.values.get(name, np.full(len(self), np.nan))

    def defined_curves(self) -> Array:
        """(k, m) the curves without a NaN; (0, 0) if no image has one."""
        if self.curve is None:
            return np.empty((0, 0))
        return self.curve[~np.isnan(self.curve).any(1)]

    def part(self, chosen: NDArray[np.bool_]) -> ScoreSet:
        """The scores of some images.

        Args:
            chosen: (n,) which.
        """
        return ScoreSet(
            [image_id for image_id, keep in zip(self.ids, chosen, strict=True) if keep],
            {name: values[chosen] for name, values in self.values.items()},
            None if self.curve is None else self.curve[chosen],
            {name: vectors[chosen] for name, vectors in self.features.items()},
        )

    @classmethod
    def collate(cls, scores: Iterable[tuple[str, ImageScore]]) -> ScoreSet:
        """The scores of several images, (image id, score), as arrays."""
        pairs = list(scores)
        ids = [image_id for image_id, _ in pairs]
        every = [score for _, score in pairs]
        names = dict.fromkeys(name for score in every for name in score.values)
        values = {
            name: np.array([score.values.get(name, np.nan) for score in every], dtype=np.float64)
            for name in names
        }
        curves = [
            None if s.curve is None else s.curve.detach().cpu().double().numpy() for s in every
        ]
        features = {
            name: [None if name not in s.features else s.features[name].numpy() for s in every]
            for name in dict.fromkeys(name for s in every for name in s.features)
        }
        return cls(
            ids,
            values,
            _stack(curves, np.float64),
            {
                name: stacked
                for name, rows in features.items()
                if (stacked := _stack(rows, np.float32)) is not None
            },
        )

    @classmethod
    def concatenate(cls, parts: Sequence[ScoreSet]) -> ScoreSet:
        """Several sets, one after the other."""
        if len(parts) == 1:
            return parts[0]
        lengths = [len(part) for part in parts]
        names = dict.fromkeys(name for part in parts for name in part.values)
        kinds = dict.fromkeys(name for part in parts for name in part.features)
        return cls(
            [image_id for part in parts for image_id in part.ids],
            {name: np.concatenate([part.value(name) for part in parts]) for name in names},
            _join([part.curve for part in parts], lengths),
            {
                name: joined
                for name in kinds
                if (joined := _join([p.features.get(name) for p in parts], lengths)) is not None
            },
        )


def _stack(rows: Sequence[NDArray[Any] | None], dtype: type) -> NDArray[Any] | None:
    """(n, m) of rows (m,), NaN for None; None if there is no row."""
    width = next((len(row) for row in rows if row is not None), None)
    if width is None:
        return None
    stacked: NDArray[Any] = np.full((len(rows), width), np.nan, dtype)
    for i, row in enumerate(rows):
        if row is not None:
            stacked[i] = row
    return stacked


def _join(parts: Sequence[NDArray[Any] | None], lengths: Sequence[int]) -> NDArray[Any] | None:
    """Arrays (n, m) below each other, NaN for those that are None."""
    first = next((part for part in parts if part is not None), None)
    if first is None:
        return None
    return np.concatenate(
        [
            np.full((n, first.shape[1]), np.nan, first.dtype) if part is None else part
            for part, n in zip(parts, lengths, strict=True)
        ]
    )
