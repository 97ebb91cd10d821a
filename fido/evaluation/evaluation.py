"""From stores, photos and infillers to a score for every image, metric and row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fido.evaluation.frame import Results, ScoreCollector
from fido.evaluation.parts import Part
from fido.evaluation.score_store import ScoreStore, StoredScores
from fido.evaluation.stored_explanations import StoredExplanations
from fido.metrics.base import mean_defined
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Inputs, LeftOutError
from fido.records import Explanation, Key, Sample
from fido.runtime.digests import digest, weights_digest


@dataclass(frozen=True, eq=False)
class TableRow:
    """A row of a metric's table.

    Attributes:
        name: As in tables.
        row: As its subject names it.
        parts: Those that have it; the first one that has an image scores it.
    """

    name: str
    row: str
    parts: Sequence[Part]


class Evaluation:
    """Scores image after image; what is on disk already is not computed again.

    Scores of a store's explanations are kept in the store (`scored/`), so that a run that scored
    as it went, and any other evaluation with the same settings, need not do it again. All others
    are kept in `<folder>/scored`.

    Every store is scored with the classifier of its part. Rows that belong to no store (reference
    rows, infillers) are scored once a classifier; with several of them, their names say which.

    Args:
        parts: One a classifier, all with the same names of metrics.
        stored: Explanations of all parts.
        folder: For scores that belong to no store.
        progress: Called after every image: images done, images in all.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        stored: StoredExplanations,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.parts = parts
        self.stored = stored
        self.progress = progress
        self.tables = {name: self._rows(name) for name in parts[0].metrics} if parts else {}
        self._scores = ScoreStore(folder / "scored")
        self._stored_scores = {
            name: ScoreStore(store.folder / "scored") for name, store in stored.stores.items()
        }
        self._left_out: dict[str, dict[str, set[str]]] = {}
        self._digests = {
            (id(part), name): digest(
                metric.revision, part.settings.get(name), weights_digest(metric)
            )
            for part in parts
            for name, metric in part.metrics.items()
        }
        self._infiller_digests = {
            name: digest(part.settings.get(f"infiller {name}"), weights_digest(infiller))
            for part in parts[:1]
            for name, infiller in part.compared.infillers.items()
        }

    def run(self) -> Results:
        """Score every image.

        Returns:
            Metric to row to scores, rows in table order and images sorted by id.
        """
        self.stored.refresh()
        collected = {
            (metric, row.name): ScoreCollector() for metric, t in self.tables.items() for row in t
        }
        ids = self.ids()
        for done, image_id in enumerate(ids, start=1):
            for metric, row_name, key, score in self.score_image(image_id):
                collected[metric, row_name].add(key, score)
            if self.progress is not None:
                self.progress(done, len(ids))
        return {
            metric: {
                row.name: collected.pop((metric, row.name)).row_scores(row.parts[0].metrics[metric])
                for row in table
            }
            for metric, table in self.tables.items()
        }

    def ids(self) -> list[str]:
        """Ids of all images, sorted."""
        return sorted(set[str]().union(*(part.samples.ids() for part in self.parts)))

    def load(self, image_id: str) -> Sample | None:
        """An image as the first part that has it scores it; None if it is not to be scored."""
        samples = (part.samples.load(image_id) for part in self.parts)
        return next((sample for sample in samples if sample is not None), None)

    def rows(self, metric: str) -> list[str]:
        """Names of the rows of a metric's table, in order."""
        return [row.name for row in self.tables[metric]]

    def counts(self) -> dict[str, dict[str, int]]:
        """Row to status to number of images; after `run`.

        With those that could not be scored for a row and why, see `LeftOutError`.
        """
        counts: dict[str, dict[str, int]] = {}
        for part in self.parts:
            counts |= {row: dict(statuses) for row, statuses in part.samples.counts().items()}
        order = [name for name in self.stored.stores if name in counts]
        counts = {name: counts[name] for name in dict.fromkeys([*order, *counts])}
        for row, reasons in self._left_out.items():
            for reason, ids in reasons.items():
                counts.setdefault(row, {})[f"left out: {reason}"] = len(ids)
        return counts

    def classifiers(self) -> dict[str, str]:
        """Row of a store to the name of its classifier; empty if there is only one classifier."""
        if len(self.parts) < 2:
            return {}
        of_row = {row: part.classifier for part in self.parts for row in part.compared.stores}
        return {row: of_row[row] for row in self.stored.stores}

    def score_image(self, image_id: str) -> list[tuple[str, str, Key, ImageScore]]:
        """(metric, row, key, score) of one image; the scores are on disk afterwards."""
        images = {id(part): self._image(image_id, part) for part in self.parts}
        files: dict[tuple[str | None, Key], StoredScores] = {}
        scores = []
        for metric, table in self.tables.items():
            for row in table:
                image = next((i for p in row.parts if (i := images[id(p)]) is not None), None)
                for inputs in [] if image is None else self._inputs(metric, row, image):
                    assert image is not None
                    where = inputs.store, inputs.key
                    if where not in files:
                        files[where] = self._store(inputs.store).open(inputs.key)
                    score = self._score(metric, row, image, inputs, files[where])
                    scores.append((metric, row.name, inputs.key, score))
        for file in files.values():
            file.save()
        return scores

    def values_on_disk(self, metric: str, store: str, key: Key) -> dict[str, float] | None:
        """The numbers of a metric for a stored explanation, without a look at the explanation.

        Returns:
            None if it was not scored yet with this metric, its settings and its weights.
        """
        part = next(part for part in self.parts if store in part.compared.stores)
        scores = self._store(store).open(key)
        values = scores.values(metric, "explanation", self._digests[id(part), metric])
        order = part.metrics[metric].recorded
        return None if values is None else {name: values[name] for name in order}

    def _image(self, image_id: str, part: Part) -> _Image | None:
        sample = part.samples.load(image_id)
        if sample is None:
            return None
        return _Image(sample, part, self.stored, self._infiller_digests)

    def _inputs(self, metric: str, row: TableRow, image: _Image) -> list[Inputs]:
        subject = image.part.metrics[metric].subject
        try:
            return subject.inputs(row.row, image, image.part.compared)
        except LeftOutError as reason:
            ids = self._left_out.setdefault(row.name, {}).setdefault(str(reason), set())
            ids.add(image.sample.id)
            return []

    def _score(
        self, name: str, row: TableRow, image: _Image, inputs: Inputs, file: StoredScores
    ) -> ImageScore:
        """The score from disk or computed."""
        metric = image.part.metrics[name]
        # A store's file is about one explanation; it does not know what the row is called here.
        entry = row.name if inputs.store is None else "explanation"
        parts = [image.digest(part) for part in inputs.depends_on]
        depends_on = digest(self._digests[id(image.part), name], *parts)
        return file.get_or_compute(
            name,
            entry,
            depends_on,
            lambda: average([metric.score(*arguments) for arguments in inputs.arguments]),
            self._digests[id(image.part), name],
        )

    def _store(self, store: str | None) -> ScoreStore:
        return self._scores if store is None else self._stored_scores[store]

    def _rows(self, metric: str) -> list[TableRow]:
        """Rows without an explainer first, then stores in their order."""
        rows: dict[str, TableRow] = {}
        for part in self.parts:
            for row in part.metrics[metric].subject.rows(part.compared):
                shared = row not in self.stored.stores and row not in part.compared.groups
                same = [p for p in self.parts if p.metrics[metric] is part.metrics[metric]]
                if shared and len(self.parts) > len(same):
                    rows.setdefault(
                        name := f"{row} ({part.classifier})", TableRow(name, row, [part])
                    )
                else:
                    rows.setdefault(row, TableRow(row, row, same if shared else [part]))
        order = [row for row in rows if row not in self.stored.stores]
        order += [row for row in self.stored.stores if row in rows]
        return [rows[row] for row in order]


class _Image:
    """One image of a part, with what is read once for all metrics; see `ScoredImage`."""

    def __init__(
        self,
        sample: Sample,
        part: Part,
        stored: StoredExplanations,
        infiller_digests: Mapping[str, str],
    ) -> None:
        self.sample = sample
        self.part = part
        self._stored = stored
        self._infiller_digests = infiller_digests
        self._explanations: dict[str, list[Explanation]] = {}
        self._tensors: dict[int, str] = {}

    @cached_property
    def key(self) -> str:
        """See `ScoredImage.key`."""
        sample = self.sample
        boxes = None if sample.boxes is None else sample.boxes.tolist()
        return digest((255 * sample.image).round(), {"boxes": boxes}, sample.label)

    def explanations(self, store: str) -> list[Explanation]:
        """See `ScoredImage.explanations`."""
        if store not in self._explanations:
            self._explanations[store] = self._stored.load(store, self.sample.id)
        return self._explanations[store]

    def infiller_key(self, row: str) -> str | None:
        """See `ScoredImage.infiller_key`."""
        return self._infiller_digests.get(row)

    def digest(self, part: Tensor | str | float | int | None) -> str | float | int | None:
        """A tensor's digest, computed once for all metrics; anything else as it is."""
        if not isinstance(part, Tensor):
            return part
        if id(part) not in self._tensors:  # explanations, and so their ids, stay while this does
            self._tensors[id(part)] = digest(part)
        return self._tensors[id(part)]


def average(scores: Sequence[ImageScore]) -> ImageScore:
    """The mean score of several maps of one image; nothing is defined without any."""
    if len(scores) == 1:
        return scores[0]
    names = dict.fromkeys(name for score in scores for name in score.values)
    values = {name: mean_defined(score.values[name] for score in scores) for name in names}
    curves = [score.curve for score in scores if score.curve is not None]
    return ImageScore(values, torch.stack(curves).double().mean(0) if curves else None)
