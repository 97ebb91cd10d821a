"""From a source of photos to a store of explanations, resumable image by image."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from fido.classifiers.base import Classifier
from fido.data.base import Entry, PhotoSource
from fido.data.photo import UnreadableImageError
from fido.explainers.base import Explainer
from fido.infillers.base import Infiller
from fido.records import Explanation, Sample
from fido.report.explanation_figure import explanation_figure, save_figure
from fido.runs.observer import Observer, Result
from fido.runs.region_edit import RegionEdit, edit_region
from fido.runs.shards import Shard
from fido.runs.store import ResultsStore, Row
from fido.runs.target import resolve_target
from fido.runtime.files import write_json
from fido.runtime.noise import ImageNoise

AVERAGED = ("p_original", "p_kept", "p_removed", "area")
"""Columns of `scores.csv` whose means stand in the summary."""


class Runner:
    """Explains the images of a source, or of a share of it, that its store does not hold yet.

    Args:
        classifier: What is explained.
        infiller: Fills around and inside the explained region for figures and scores.
        explainer: The method.
        store: Where explanations go.
        target: Which class is explained; see `resolve_target`.
        batch_size: Images that the explainer gets at once.
        seed: Of the infiller's random numbers when the region is edited.
        observers: Who is told of results.
        shard: Which share of the images this is; all by default.

    Raises:
        ValueError: If `batch_size` is below 1.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        explainer: Explainer,
        store: ResultsStore,
        target: str | int = "predicted",
        batch_size: int = 1,
        seed: int = 0,
        observers: Sequence[Observer] = (),
        shard: Shard | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.classifier = classifier
        self.infiller = infiller
        self.explainer = explainer
        self.store = store
        self.target = target
        self.batch_size = batch_size
        self.seed = seed
        self.observers = observers
        self.shard = shard or Shard()

    def run(self, source: PhotoSource) -> dict[str, Any]:
        """Explain what is left; write `scores.csv` and `summary.json` whatever happens.

        Returns:
            The summary: images of the store by status, how many of the source are `missing`,
            means of the numeric columns, cost, images and seconds of this run.

        Raises:
            UnreadableImageError: If an image cannot be read and the source is set to stop.
        """
        entries = source.selected()
        share = self.shard.share(entries)
        left = [entry for entry in share if entry.id not in self.store]
        for observer in self.observers:
            observer.begin(len(share) - len(left), len(left))
        started, explained = time.perf_counter(), 0
        whole: dict[str, Any] = {}
        try:
            for samples in self._batches(source, left):
                explained += self._explain(samples)
        finally:
            seconds = round(time.perf_counter() - started, 3)
            selected = {entry.id for entry in entries}
            for rows in self.store.rows_until_stable(selected):
                whole = {
                    **summary(rows),
                    "missing": len(selected.difference(str(row["id"]) for row in rows)),
                    "this_run": {"images": explained, "seconds": seconds},
                }
                self.store.write_scores(rows)
                write_json(self.store.folder / "summary.json", whole)
        return whole

    def _batches(self, source: PhotoSource, entries: Sequence[Entry]) -> Iterator[list[Sample]]:
        """Samples with their targets set, `batch_size` at a time."""
        batch: list[Sample] = []
        for entry in entries:
            # Asked again: shards of another number, started meanwhile, share images with this one.
            sample = None if entry.id in self.store else self._sample(source, entry)
            if sample is not None:
                batch.append(sample)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _sample(self, source: PhotoSource, entry: Entry) -> Sample | None:
        """The sample of an entry with its target, or None if it is not to be explained."""
        try:
            sample = source.load(entry)
        except UnreadableImageError as error:
            if source.on_error == "stop":
                raise
            self._skip({"id": entry.id, "status": "unreadable", "reason": str(error)})
            return None
        with torch.no_grad():
            logits = self.classifier(sample.image.unsqueeze(0).to(self.classifier.device))[0]
        if source.only_correct and int(logits.argmax()) != sample.label:
            self._skip(
                {
                    "id": entry.id,
                    "status": "excluded",
                    "reason": f"predicted {self.classifier.class_names[int(logits.argmax())]}",
                    "label": sample.label,
                }
            )
            return None
        target = resolve_target(self.target, sample, logits.cpu(), self.classifier.class_names)
        return replace(sample, target=target)

    def _explain(self, samples: list[Sample]) -> int:
        """Explain, save and announce a batch; returns how many have an explanation now."""
        explained = 0
        started = time.perf_counter()
        explanations = self.explainer.explain(samples)
        seconds = (time.perf_counter() - started) / len(samples)
        for sample, explanation in zip(samples, explanations, strict=True):
            if explanation.failure is not None:
                row: Row = {"id": sample.id, "status": "failed", "reason": explanation.failure}
                self._skip(row)
                continue
            noise = ImageNoise(self.seed, [sample.id], "edit", self.classifier.device)
            edit = edit_region(
                self.classifier, self.infiller, sample.image, explanation.region, noise
            )
            row = self._row(sample, explanation, edit)
            figure = self.store.folder / "figures" / f"{sample.id}.png"
            names = self.classifier.class_names
            save_figure(explanation_figure(sample, explanation, edit, names), figure)
            self.store.save(sample, explanation, row)
            explained += 1
            for observer in self.observers:
                observer.result(Result(sample, explanation, edit, row, str(figure), seconds))
        return explained

    def _skip(self, row: Row) -> None:
        self.store.save_not_explained(str(row["id"]), row)
        for observer in self.observers:
            observer.skipped(row)

    def _row(self, sample: Sample, explanation: Explanation, edit: RegionEdit) -> Row:
        # No times in here: an interrupted run that goes on leaves the same bytes as another.
        names = self.classifier.class_names
        original, kept, removed = edit.probabilities[:, explanation.target].tolist()
        predicted = int(edit.probabilities[0].argmax())
        last = {name: float(curve[-1]) for name, curve in explanation.history.items()}
        return {
            "id": sample.id,
            "status": "explained",
            "reason": None,
            "label": sample.label,
            "target": explanation.target,
            "target_name": names[explanation.target],
            "predicted": predicted,
            "predicted_name": names[predicted],
            "p_original": original,
            "p_kept": kept,
            "p_removed": removed,
            "area": float(explanation.region.float().mean()),
            "saliency_min": float(explanation.saliency.min()),
            "saliency_max": float(explanation.saliency.max()),
            **{f"last_{name}": value for name, value in last.items()},
            **explanation.cost,
        }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts by status and means of the numeric columns over explained images.

    A mean that is not finite, because a classifier gave no number for an edited image, is None.
    """
    explained = [row for row in rows if row["status"] == "explained"]
    means = {
        name: math.fsum(float(row[name] or 0) for row in explained) / len(explained)
        for name in AVERAGED
        if explained
    }
    costs = ("forward", "backward", "infill")
    return {
        "images": dict(Counter(str(row["status"]) for row in rows)),
        "mean": {name: mean if math.isfinite(mean) else None for name, mean in means.items()},
        "cost": {name: sum(int(row.get(name) or 0) for row in explained) for name in costs},
    }
