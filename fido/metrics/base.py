"""What every metric promises: a score an image, a mean over images, nothing dropped silently."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Subject

ID_BYTES = 255  # the longest file name of common file systems


@dataclass(frozen=True)
class Column:
    """One number an image, or of a set of images.

    Attributes:
        name: As in `scores.csv`.
        title: As in tables and figures, with the unit where there is one.
        better: Which direction is better; None where neither is.
        percent: Whether the number is a share that tables show in percent.
        digits: Decimals in tables.
        group: Columns of one group have a table and a figure of their own, as have their set
            values, which are named "<group>/<name>".
    """

    name: str
    title: str
    better: Literal["lower", "higher"] | None = None
    percent: bool = False
    digits: int = 3
    group: str = ""


@dataclass(frozen=True)
class Curve:
    """What the curve of a metric is, for figures.

    Attributes:
        x: Where the points lie.
        x_title: What x is, with its unit.
        y_title: What the curve's values are, with their unit.
    """

    x: Sequence[float]
    x_title: str
    y_title: str


@dataclass(frozen=True)
class Series:
    """Columns that are points of one line, for figures.

    Attributes:
        x: Column name to position.
        x_title: What the position is, with its unit.
        y_title: What the columns are, with their unit.
    """

    x: Mapping[str, float]
    x_title: str
    y_title: str


class ImageMetric(Metric, ABC):
    """A metric of single images: a pure `score` an image, and functions of a set of scores.

    `score` measures one image. What can only be said of a set of images (a threshold chosen on
    held-out ones, a distance of distributions) is made of their scores: `finalize` gives the final
    numbers of every image, `set_values` those of the set. An evaluation calls these three.

    It is a `torchmetrics.Metric`, too: `update` takes what `score` takes, `compute` gives the mean
    of every column and the numbers of the set.

    Attributes:
        subject: What `score` takes, and which rows a table has.
        revision: Raised when `score` changes what it gives for the same settings: older scores on
            disk are void.
        recorded: Names of the numbers that `score` gives.
        recorded_features: Names of the feature vectors that `score` gives.
        columns: The final numbers of an image.
        set_columns: Numbers of a set of images; `set_values` may leave some out.
        curve: What the curve is, for metrics with one.
        series: Columns that are drawn as one line.
    """

    full_state_update = False
    is_differentiable = False

    subject: ClassVar[Subject]
    revision: ClassVar[int] = 0
    recorded: tuple[str, ...]
    recorded_features: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    set_columns: tuple[Column, ...] = ()
    curve: Curve | None = None
    series: Series | None = None

    ids: list[Tensor]
    values: list[Tensor]
    curves: list[Tensor]
    features: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("ids", "values", "curves", "features"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, *args: Any, **kwargs: Any) -> ImageScore:
        """Measure one image; the same arguments always give the same score."""

    def finalize(self, scores: ScoreSet) -> dict[str, Array]:
        """From what was recorded on n images to the final numbers, (n,) a column."""
        return {column.name: scores.value(column.name) for column in self.columns}

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """Numbers that belong to the set and not to an image, by name of a set column.

        They have no intervals: a resampled set holds images twice, and distances between sets
        (Fréchet distance) are biased by that.
        """
        return {}

    def summary_curve(self, scores: ScoreSet) -> Array | None:
        """(m,) the curve to draw for a set of images: the mean of those that are defined."""
        curves = scores.defined_curves()
        return curves.mean(0) if len(curves) else None

    def curve_names(self, scores: ScoreSet) -> Sequence[str] | None:
        """Names of the m points of `summary_curve`, where every set has its own."""
        return None

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Measure one image and keep the result; takes what `score` takes."""
        first = args[0] if args else next(iter(kwargs.values()))
        image_id = first if isinstance(first, str) else first.id
        score = self.score(*args, **kwargs)
        numbers = [[score.values.get(name, math.nan) for name in self.recorded]]
        self.ids.append(_encode(image_id))
        self.values.append(torch.tensor(numbers, dtype=torch.float64))
        if score.curve is not None:
            self.curves.append(score.curve.double().cpu().unsqueeze(0))
        if score.features:
            vectors = [score.features[name] for name in self.recorded_features]
            self.features.append(torch.stack(vectors).float().cpu().unsqueeze(0))

    def scores(self) -> ScoreSet:
        """What was measured, sorted by image id."""
        if not len(self.ids):
            return ScoreSet([], {})
        ids = [_decode(row) for row in _rows(self.ids)]
        order = sorted(range(len(ids)), key=lambda i: ids[i])
        values = _rows(self.values)[order].numpy()
        vectors = _rows(self.features)[order].numpy() if len(self.features) else None
        return ScoreSet(
            [ids[i] for i in order],
            {name: values[:, k] for k, name in enumerate(self.recorded)},
            _rows(self.curves)[order].numpy() if len(self.curves) else None,
            {
                name: vectors[:, k]
                for k, name in enumerate(self.recorded_features)
                if vectors is not None
            },
        )

    def compute(self) -> dict[str, Tensor]:
        """Mean of every column over the images for which it is defined, and numbers of the set."""
        scores = self.scores()
        means = {name: mean_defined(values) for name, values in self.finalize(scores).items()}
        return {name: torch.tensor(v) for name, v in {**means, **self.set_values(scores)}.items()}


def mean_defined(values: Any) -> float:
    """Mean of the numbers that are not NaN, whatever their order; NaN of none."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _rows(state: Any) -> Tensor:
    """A torchmetrics "cat" state as one tensor: a list before, a tensor after synchronising."""
    rows = state if isinstance(state, Tensor) else torch.cat(list(state))
    return rows.cpu()


def _encode(image_id: str) -> Tensor:
    """(1, ID_BYTES) bytes of an id: torchmetrics synchronises tensors only."""
    raw = image_id.encode(errors="surrogateescape")
    if len(raw) > ID_BYTES:
        raise ValueError(f"an image id may have {ID_BYTES} bytes, got {len(raw)}: {image_id!r}")
    return torch.tensor([list(raw.ljust(ID_BYTES, b"\0"))], dtype=torch.uint8)


def _decode(row: Tensor) -> str:
    return bytes(row.tolist()).rstrip(b"\0").decode(errors="surrogateescape")
