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

Subject = Literal["explanation", "infiller", "maps", "pair"]

ID_BYTES = 255  # the longest file name of common file systems


@dataclass(frozen=True)
class Column:
    """One number an image.

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


@dataclass(frozen=True, eq=False)
class ImageScore:
    """What a metric measured on one image.

    Attributes:
        values: The metric's `recorded` numbers by name; NaN where the number is not defined
            for this image (no boxes, say).
        curve: (m,) numbers, for metrics with a curve.
    """

    values: Mapping[str, float]
    curve: Tensor | None = None


class ImageMetric(Metric, ABC):
    """A torchmetrics metric that also keeps what it measured on every image.

    `score` measures one image and is pure; `update` adds its result to the state; `per_image`
    gives the final numbers image by image; `compute` their means. What can only be said of a set
    of images (a threshold chosen on held-out ones) happens in `finalize`, on the recorded numbers.

    The kinds of subject, which say what `score` and `update` take:
        "explanation": `(sample, explanation)`; rows of the table are methods.
        "infiller": `(sample, infiller or None)`; rows are infillers, None is the image as it is.
        "maps": `(image_id, maps)`, two or more maps (1, h, w) of one image; rows are groups of
            runs.
        "pair": `(image_id, reference, map)`; rows are the runs of a group but its first, which is
            the reference.
    """

    full_state_update = False
    is_differentiable = False

    subject: ClassVar[Subject]
    reference_rows: ClassVar[tuple[str, ...]] = ()
    """Rows without an explainer in the metric's table; see `fido.masks.baseline_maps`."""

    revision: ClassVar[int] = 0
    """Raised when `score` changes what it gives for the same settings: older scores are void."""

    shows_input: ClassVar[bool] = True
    """Whether a metric of infillers has a row for the image as it is."""

    recorded: tuple[str, ...]
    """Names of the numbers that `score` gives."""
    columns: tuple[Column, ...]
    """The final numbers."""
    curve: Curve | None = None
    series: Series | None = None

    ids: list[Tensor]
    values: list[Tensor]
    curves: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("ids", "values", "curves"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, *args: Any, **kwargs: Any) -> ImageScore:
        """Measure one image; the same subject always gives the same score."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Measure one image and keep the result; takes what `score` takes."""
        first = args[0] if args else next(iter(kwargs.values()))
        image_id = first if isinstance(first, str) else first.id
        score = self.score(*args, **kwargs)
        self.ids.append(_encode(image_id))
        numbers = [[score.values[name] for name in self.recorded]]
        self.values.append(torch.tensor(numbers, dtype=torch.float64))
        if score.curve is not None:
            self.curves.append(score.curve.double().cpu().unsqueeze(0))

    def records(self) -> dict[str, ImageScore]:
        """What was measured, by image id, sorted by id."""
        if not len(self.ids):
            return {}
        ids, values = _rows(self.ids), _rows(self.values)
        curves = _rows(self.curves) if len(self.curves) else None
        scores = {}
        for i, row in enumerate(values.tolist()):
            curve = curves[i] if curves is not None else None
            scores[_decode(ids[i])] = ImageScore(dict(zip(self.recorded, row, strict=True)), curve)
        return dict(sorted(scores.items()))

    def per_image(self) -> dict[str, dict[str, float]]:
        """The final numbers by image id and column; NaN where undefined."""
        return self.finalize(self.records())

    def compute(self) -> dict[str, Tensor]:
        """Mean of every column over the images for which it is defined; NaN over none."""
        rows = self.per_image().values()
        return {
            column.name: torch.tensor(mean_defined(row[column.name] for row in rows))
            for column in self.columns
        }

    def finalize(self, records: Mapping[str, ImageScore]) -> dict[str, dict[str, float]]:
        """From what was recorded on a set of images to the final numbers of each."""
        names = [column.name for column in self.columns]
        return {
            image_id: {name: records[image_id].values[name] for name in names}
            for image_id in sorted(records)
        }

    def set_values(self, records: Mapping[str, ImageScore]) -> dict[str, float]:
        """Numbers that belong to the set and not to an image (a chosen threshold, say)."""
        return {}

    def summary_curve(self, records: Mapping[str, ImageScore]) -> Tensor | None:
        """(m,) the curve to draw for a set of images: the mean of those that are defined."""
        curves = [score.curve for score in records.values() if score.curve is not None]
        defined = [curve.double() for curve in curves if not bool(curve.isnan().any())]
        return torch.stack(defined).mean(0) if defined else None


def mean_defined(values: Any) -> float:
    """Mean of the numbers that are not NaN, whatever their order; NaN of none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _rows(state: Any) -> Tensor:
    """A torchmetrics "cat" state as one tensor: a list before, a tensor after synchronising."""
    return state if isinstance(state, Tensor) else torch.cat(list(state))


def _encode(image_id: str) -> Tensor:
    """(1, ID_BYTES) bytes of an id: torchmetrics synchronises tensors only."""
    raw = image_id.encode()
    if len(raw) > ID_BYTES:
        raise ValueError(f"an image id may have {ID_BYTES} bytes, got {len(raw)}: {image_id!r}")
    return torch.tensor([list(raw.ljust(ID_BYTES, b"\0"))], dtype=torch.uint8)


def _decode(row: Tensor) -> str:
    return bytes(row.tolist()).rstrip(b"\0").decode()
