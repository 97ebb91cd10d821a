"""From stores, photos and infillers to a score for every image, metric and row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fido.evaluation.samples import Samples
from fido.evaluation.score_store import ImageScores, ScoreStore, digest
from fido.infillers.base import Infiller
from fido.masks.baseline_maps import reference_explanations
from fido.metrics.base import ImageMetric, ImageScore, mean_defined
from fido.records import Explanation, Sample
from fido.runs.observer import Result
from fido.runs.store import ResultsStore, Row

INPUT = "input"
"""The row of an infiller's table that leaves the image as it is."""

ScoresByRow = dict[str, dict[str, dict[str, ImageScore]]]
"""Metric to row to image id to score."""


@dataclass(frozen=True, eq=False)
class ComparedRows:
    """What is compared.

    Attributes:
        stores: Row name to explanations of one method.
        infillers: Row name to infiller, for metrics of infillers.
        groups: Row name to names of stores whose maps are compared with each other, for metrics
            of maps; the first of a group is its reference.
        reference_rows: Rows without an explainer that are shown, of those that a metric offers.
        seed: Of the reference rows.
    """

    stores: Mapping[str, ResultsStore] = field(default_factory=dict)
    infillers: Mapping[str, Infiller] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reference_rows: Sequence[str] = ()
    seed: int = 0


class Evaluation:
    """Scores image after image; what is on disk already is not computed again.

    Scores of a store's explanations are kept in the store (`scored/`), so that a run that scored
    as it went, and any other evaluation with the same settings, need not do it again. All others
    are kept in `<folder>/scored`.

    Args:
        metrics: Name to metric.
        settings: Metric name, or "infiller" and a row's name, to what determines its scores beside
            weights. A score on disk counts only under the same settings and weights.
        samples: The images.
        compared: The rows.
        folder: For scores that belong to no store.
        progress: Told after every image: images done, images in all.
    """

    def __init__(
        self,
        metrics: Mapping[str, ImageMetric],
        settings: Mapping[str, Any],
        samples: Samples,
        compared: ComparedRows,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.metrics = metrics
        self.samples = samples
        self.compared = compared
        self.progress = progress
        self._book = ScoreStore(folder / "scored")
        self._incomplete: dict[str, set[str]] = {}
        self._keys = {
            name: digest(_settings_of(metric, settings.get(name)), weights_digest(metric))
            for name, metric in metrics.items()
        }
        self._infiller_keys = {
            name: digest(settings.get(f"infiller {name}"), weights_digest(infiller))
            for name, infiller in compared.infillers.items()
        }

    def run(self) -> ScoresByRow:
        """Score every image; returns everything, rows in table order and ids sorted."""
        records: ScoresByRow = {
            name: {row: {} for row in self.rows(metric)} for name, metric in self.metrics.items()
        }
        ids = self.samples.ids()
        for done, image_id in enumerate(ids, start=1):
            for name, row, score in self.score_image(image_id):
                records[name][row][image_id] = score
            if self.progress is not None:
                self.progress(done, len(ids))
        return records

    def counts(self) -> dict[str, dict[str, int]]:
        """Row to status to number of images; after `run`.

        With those whose maps could not be compared because a run of the group lacks them.
        """
        counts = {row: dict(statuses) for row, statuses in self.samples.counts().items()}
        for row, ids in self._incomplete.items():
            counts.setdefault(row, {})["left out: not in all runs compared"] = len(ids)
        return counts

    def rows(self, metric: ImageMetric) -> list[str]:
        """The rows of a metric's table, in order: reference rows first."""
        compared = self.compared
        if metric.subject == "explanation":
            shown = [row for row in metric.reference_rows if row in compared.reference_rows]
            return [*shown, *compared.stores]
        if metric.subject == "infiller":
            return [*([INPUT] if metric.shows_input else []), *compared.infillers]
        if metric.subject == "maps":
            return [name for name, group in compared.groups.items() if len(group) > 1]
        return [name for group in compared.groups.values() for name in group[1:]]

    def score_image(self, image_id: str) -> list[tuple[str, str, ImageScore]]:
        """(metric, row, score) of one image; files are on disk afterwards."""
        sample = self.samples.load(image_id)
        if sample is None:
            return []
        image = _Image(sample, self.compared, self._book)
        scores = [
            (name, row, score)
            for name, metric in self.metrics.items()
            for row in self.rows(metric)
            if (score := self._score(name, metric, row, image)) is not None
        ]
        image.save()
        return scores

    def _score(self, name: str, metric: ImageMetric, row: str, image: _Image) -> ImageScore | None:
        """The score from disk or computed; None if the row has nothing for this image."""
        if metric.subject == "explanation":
            return self._explanation(name, metric, row, image)
        if metric.subject == "infiller":
            infiller = self.compared.infillers.get(row)
            key = digest(self._keys[name], image.key, self._infiller_keys.get(row))
            return image.page.get_or_compute(
                name, row, key, lambda: metric.score(image.sample, infiller)
            )
        group = self.compared.groups.get(row) or next(
            group for group in self.compared.groups.values() if row in group[1:]
        )
        names = list(group) if metric.subject == "maps" else [group[0], row]
        explanations = [image.explanation(store) for store in names]
        maps = [one.saliency for one in explanations if one is not None]
        if len(maps) < len(names):
            if maps:
                self._incomplete.setdefault(row, set()).add(image.id)
            return None
        key = digest(self._keys[name], *maps)
        if metric.subject == "maps":
            return image.page.get_or_compute(name, row, key, lambda: metric.score(image.id, maps))
        return image.page.get_or_compute(name, row, key, lambda: metric.score(image.id, *maps))

    def _explanation(
        self, name: str, metric: ImageMetric, row: str, image: _Image
    ) -> ImageScore | None:
        if row not in self.compared.stores:
            key = digest(self._keys[name], image.key, self.compared.seed, image.sample.target)
            maps = reference_explanations(row, image.sample, self.compared.seed)
            return image.page.get_or_compute(
                name,
                row,
                key,
                lambda: average([metric.score(image.sample, one) for one in maps], metric.recorded),
            )
        explanation = image.explanation(row)
        if explanation is None:
            return None
        key = digest(
            self._keys[name],
            image.key,
            explanation.saliency,
            explanation.threshold,
            explanation.target,
        )
        page = image.store_page(row)
        return page.get_or_compute(
            name, "explanation", key, lambda: metric.score(image.sample, explanation)
        )


class ScoringObserver:
    """Scores every explanation as soon as it is saved; an observer of `fido.runs.runner.Runner`.

    Args:
        evaluation: Of the store that the runner writes to.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def begin(self, done: int, to_do: int) -> None:
        """See `Observer.begin`."""

    def result(self, result: Result) -> None:
        """See `Observer.result`; the scores are on disk afterwards."""
        self.evaluation.score_image(result.sample.id)

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""


class _Image:
    """One image with what is read once for all metrics."""

    def __init__(self, sample: Sample, compared: ComparedRows, book: ScoreStore) -> None:
        self.sample = sample
        self.id = sample.id
        self.page = book.open(sample.id)
        self.key = digest(
            (sample.image * 255).round().to(torch.uint8),
            sample.boxes if sample.boxes is not None else "no boxes",
            sample.label,
        )
        self._stores = compared.stores
        self._pages: dict[str, ImageScores] = {}
        self._explanations: dict[str, Explanation] = {}

    def explanation(self, row: str) -> Explanation | None:
        """The explanation of a store, or None if it has none of this image."""
        store = self._stores[row]
        if row not in self._explanations:
            if self.id not in store:
                return None
            self._explanations[row] = store.load(self.id)
        return self._explanations[row]

    def store_page(self, row: str) -> ImageScores:
        """The page inside a store."""
        if row not in self._pages:
            self._pages[row] = ScoreStore(self._stores[row].folder / "scored").open(self.id)
        return self._pages[row]

    def save(self) -> None:
        """Write what is new."""
        for page in (self.page, *self._pages.values()):
            page.save()


def average(scores: Sequence[ImageScore], recorded: Sequence[str]) -> ImageScore:
    """The mean score of several maps of one image; nothing is defined without any."""
    if not scores:
        return ImageScore(dict.fromkeys(recorded, math.nan))
    values = {name: mean_defined(score.values[name] for score in scores) for name in recorded}
    curves = [score.curve for score in scores if score.curve is not None]
    return ImageScore(values, torch.stack(curves).double().mean(0) if curves else None)


def _settings_of(metric: ImageMetric, settings: Any) -> Any:
    """With the metric's revision, once it has one."""
    return {"revision": metric.revision, "settings": settings} if metric.revision else settings


def weights_digest(module: nn.Module) -> str:
    """A name of all parameters and buffers of a module."""
    return digest(*module.parameters(), *module.buffers())
