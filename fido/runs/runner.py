"""From a source of photos to a store of explanations, resumable result by result."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.classifiers.self_check import check_classifier
from fido.data.base import Entry, PhotoSource
from fido.data.photo import UnreadableImageError
from fido.explainers.base import Explainer, needs_gradient
from fido.infillers.base import Infiller
from fido.records import Explanation, Key, RegionEdit, Sample
from fido.runs.counterfactual_row import COUNTERFACTUAL, counterfactual_row
from fido.runs.observer import Observer, Result
from fido.runs.region_edit import edit_region
from fido.runs.result_file import Row
from fido.runs.shards import Shard
from fido.runs.store import ResultsStore
from fido.runs.target import (
    EVERY_CLASS,
    LabelError,
    NoTargetError,
    TargetChoice,
    resolve_target,
    target_without_network,
)
from fido.runtime.files import write_json
from fido.runtime.noise import ImageNoise

AVERAGED = ("p_original", "p_kept", "p_removed", "area", *COUNTERFACTUAL)
"""Columns of `scores.csv` whose means stand in the summary, as far as they are there."""

COSTS = ("forward", "backward", "infill")
"""Passes that the summary counts for all methods."""

DENOISER_COSTS = ("denoise", "denoise_backward")
"""Passes that it counts for methods with a denoiser."""

RANKED = 2
"""Classes of a photo that the store remembers: what target=predicted and target=second ask for."""


class Runner:
    """Explains the images of a source, or of a share of it, that its store does not hold yet.

    It explains and stores; figures and scores are made of the store, by observers or later.

    Args:
        classifier: What is explained.
        infiller: Fills around and inside the explained region for the stored edits.
        explainer: The method.
        store: Where explanations go.
        target: Which class is explained; see `resolve_target`.
        batch_size: Images that the explainer gets at once.
        seed: Of the run; part of every result's key, and of the edits' random numbers.
        observers: Who is told of results, in this order.
        shard: Which share of the images this is; all by default.
        with_scores: Adds scores to rows before `scores.csv` is written; None adds none.
        choice: What target=second and target=pairs choose from.

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
        with_scores: Callable[[list[Row]], list[Row]] | None = None,
        choice: TargetChoice = EVERY_CLASS,
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
        self.with_scores = with_scores
        self.choice = choice
        self._targets: dict[str, int] = {}
        self._checked = False
        self._unlabelled: list[LabelError] = []

    def run(self, source: PhotoSource, entries: Sequence[Entry] | None = None) -> dict[str, Any]:
        """Explain what is left; write `scores.csv` and `summary.json` whatever happens.

        Args:
            source: Of the photos.
            entries: What it selects, where somebody has asked it, and the store about the photos
                and about damaged files, already; None asks.

        Returns:
            The summary: results of the store by status, how many of the source are `missing`,
            means of the numeric columns, cost, images and seconds of this run.

        Raises:
            UnreadableImageError: If an image cannot be read and the source is set to stop.
            LabelError: If no image has a label that can be explained, and labels are asked for.
            PhotoMismatchError: If the store holds results of other photos under the same ids.
            ValueError: If the first photo shows that the classifier cannot be explained; see
                `check_classifier`.
        """
        if entries is None:
            entries = source.selected()
            self.store.check_photos((entry.id, entry.path) for entry in entries)
            set_aside_damaged(self.store, self.observers)
        self.store.save_class_names(self.classifier.class_names)
        share = self.shard.share(entries)
        left = self._left(share)
        # Another process may have saved some since the photos were compared.
        self.store.check_photos_again((entry.id, entry.path) for entry in entries)
        for observer in self.observers:
            observer.begin(len(share) - len(left), len(left))
        started, explained = time.perf_counter(), 0
        whole: dict[str, Any] = {}
        try:
            for samples, rankings in self._batches(source, left):
                explained += self._explain(samples, rankings)
        finally:
            seconds = round(time.perf_counter() - started, 3)
            for stored in self.store.rows_until_stable(lambda: not self._missing(entries)):
                rows = stored if self.with_scores is None else self.with_scores(stored)
                whole = {
                    **summary(rows),
                    "missing": self._missing(entries),
                    "this_run": {"images": explained, "seconds": seconds},
                }
                self.store.write_scores(rows)
                write_json(self.store.folder / "summary.json", whole)
        if self._unlabelled and not whole["images"].get("explained"):
            raise self._unlabelled[0]
        return whole

    def _left(
        self, entries: Sequence[Entry], keys: Mapping[str, Sequence[Key]] | None = None
    ) -> list[Entry]:
        """The entries whose results are not in the store, from one look into its folder."""
        keys = self.store.by_image() if keys is None else keys
        left = []
        for entry in entries:
            target = self._known_target(entry, keys.get(entry.id, []))
            if target is None or Key(entry.id, target, self.seed) not in keys.get(entry.id, []):
                left.append(entry)
        return left

    def _missing(self, entries: Sequence[Entry]) -> int:
        """How many entries have neither a result nor a note of why there is none."""
        keys = self.store.by_image()
        noted = {str(row["id"]) for row in self.store.rows_not_explained(keys)}
        return sum(entry.id not in noted for entry in self._left(entries, keys))

    def _known_target(self, entry: Entry, keys: Sequence[Key]) -> int | None:
        """The class of an entry, as far as no network has to be asked for it."""
        if entry.id not in self._targets:
            ranking = self.store.ranking(keys[0]) if keys else []
            names = self.classifier.class_names
            target = target_without_network(self.target, entry.label, ranking, names, self.choice)
            if target is None:
                return None
            self._targets[entry.id] = target
        return self._targets[entry.id]

    def _batches(
        self, source: PhotoSource, entries: Sequence[Entry]
    ) -> Iterator[tuple[list[Sample], list[list[int]]]]:
        """Samples with their targets set, and the photos' first classes, `batch_size` at a time."""
        samples: list[Sample] = []
        rankings: list[list[int]] = []
        for entry in entries:
            loaded = self._load(source, entry)
            if loaded is not None:
                samples.append(loaded[0])
                rankings.append(loaded[1])
            if len(samples) == self.batch_size:
                yield samples, rankings
                samples, rankings = [], []
        if samples:
            yield samples, rankings

    def _load(self, source: PhotoSource, entry: Entry) -> tuple[Sample, list[int]] | None:
        """The sample of an entry with its target, or None if it is not to be explained."""
        # Asked again: shards of another number, started meanwhile, share images with this one.
        if entry.id in self._targets and self._is_saved(entry):
            return None
        try:
            sample = source.load(entry)
        except UnreadableImageError as error:
            if source.on_error == "stop":
                raise
            self._skip({"id": entry.id, "status": "unreadable", "reason": str(error)})
            return None
        logits, reason = self._classified(sample)
        names = self.classifier.class_names
        if logits is None:
            self._skip(
                {"id": entry.id, "status": "failed", "reason": reason, "label": sample.label}
            )
            return None
        if not self._checked:
            check_classifier(self.classifier, sample.image, needs_gradient(self.explainer))
            self._checked = True
        if source.only_correct and not self._correct(logits, sample.label):
            self._skip(
                {
                    "id": entry.id,
                    "status": "excluded",
                    "reason": f"predicted {names[int(logits.argmax())]}",
                    "label": sample.label,
                }
            )
            return None
        exclusive = self.classifier.output.exclusive
        try:
            target = resolve_target(self.target, sample, logits, names, self.choice, exclusive)
        except LabelError as error:
            self._unlabelled.append(error)
            self._skip(
                {"id": entry.id, "status": "failed", "reason": str(error), "label": sample.label}
            )
            return None
        except NoTargetError as reason:
            self._skip(
                {
                    "id": entry.id,
                    "status": "excluded",
                    "reason": str(reason),
                    "label": sample.label,
                }
            )
            return None
        self._targets[entry.id] = target
        if self._is_saved(entry):
            return None
        ranking = logits.topk(min(RANKED, len(names))).indices.tolist()
        return replace(sample, target=target), ranking

    def _classified(self, sample: Sample) -> tuple[Tensor | None, str]:
        """The logits of a photo; without, why there are none: others may have some."""
        image = sample.image.unsqueeze(0).to(self.classifier.device)
        try:
            with torch.no_grad():
                logits = self.classifier(image)[0].cpu()
        except (torch.OutOfMemoryError, MemoryError, OSError):  # no fault of the photo
            raise
        except Exception as error:  # whatever the network raises
            if "CUDA error" in str(error):  # nor is this: no pass will succeed any more
                raise
            return None, f"the classifier takes no such photo: {type(error).__name__}: {error}"
        if not logits.isfinite().all():
            return None, "the classifier gives this photo logits that are not finite numbers"
        return logits, ""

    def _correct(self, logits: Tensor, label: int | None) -> bool:
        if label is None or not 0 <= label < len(logits):
            return False
        return bool(self.classifier.output.says(logits.unsqueeze(0), torch.tensor([label])))

    def _is_saved(self, entry: Entry) -> bool:
        """Whether a result has come meanwhile, of this very photo.

        Raises:
            PhotoMismatchError: If it is of another one.
        """
        key = self._key(entry.id)
        if key not in self.store:
            return False
        self.store.check_photo(key, entry.path)
        return True

    def _key(self, image_id: str) -> Key:
        return Key(image_id, self._targets[image_id], self.seed)

    def _explain(self, samples: list[Sample], rankings: list[list[int]]) -> int:
        """Explain, save and announce a batch; returns how many have an explanation now."""
        explained = 0
        started = time.perf_counter()
        explanations = self.explainer.explain(samples)
        seconds = (time.perf_counter() - started) / len(samples)
        for sample, unsigned, ranking in zip(samples, explanations, rankings, strict=True):
            explanation = replace(unsigned, seed=self.seed)
            failure = explanation.failure
            if failure is None and not explanation.saliency.isfinite().all():
                failure = "the map holds values that are not finite numbers"
            if failure is not None:
                self._skip(
                    {
                        "id": sample.id,
                        "status": "failed",
                        "reason": failure,
                        "target": explanation.target,
                        "seed": self.seed,
                    }
                )
                continue
            noise = ImageNoise(self.seed, [sample.id], "edit", self.classifier.device)
            edit = edit_region(
                self.classifier, self.infiller, sample.image, explanation.region, noise
            )
            row = self._row(sample, explanation, edit)
            self.store.save(sample, explanation, row, edit, ranking)
            explained += 1
            for observer in self.observers:
                observer.result(Result(sample, explanation, edit, row, seconds))
        return explained

    def _skip(self, row: Row) -> None:
        self.store.save_not_explained(row)
        for observer in self.observers:
            observer.skipped(row)

    def _row(self, sample: Sample, explanation: Explanation, edit: RegionEdit) -> Row:
        # No times in here: an interrupted run that goes on leaves the same bytes as another.
        names = self.classifier.class_names
        photo = edit.probabilities[0]
        predicted = int(photo.argmax())
        last = {name: float(curve[-1]) for name, curve in explanation.history.items()}
        return {
            "id": sample.id,
            "status": "explained",
            "reason": None,
            "label": sample.label,
            "target": explanation.target,
            "target_name": names[explanation.target],
            "seed": explanation.seed,
            "predicted": predicted,
            "predicted_name": names[predicted],
            "p_original": float(photo[explanation.target]),
            **counterfactual_row(self.classifier, sample, explanation),
            "saliency_min": float(explanation.saliency.min()),
            "saliency_max": float(explanation.saliency.max()),
            **{f"last_{name}": value for name, value in last.items()},
            **explanation.cost,
        }


def set_aside_damaged(store: ResultsStore, observers: Sequence[Observer]) -> None:
    """Set a store's damaged files aside, so that they are made again, and tell of each."""
    for path in store.set_aside_damaged():
        for observer in observers:
            observer.skipped(
                {"id": path.name, "status": "damaged", "reason": f"set aside as {path}"}
            )


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts by status and means of the numeric columns over explained images.

    A mean that is not finite, because a classifier gave no number for an edited image, is None;
    a column that a row does not have counts for the others only.
    """
    explained = [row for row in rows if row["status"] == "explained"]
    means = {}
    for name in AVERAGED:
        values = [float(value) for row in explained if (value := row.get(name)) is not None]
        if values:
            mean = math.fsum(values) / len(values)
            means[name] = mean if math.isfinite(mean) else None
    costs = [*COSTS, *(n for n in DENOISER_COSTS if any(row.get(n) for row in explained))]
    return {
        "images": dict(Counter(str(row["status"]) for row in rows)),
        "mean": means,
        "cost": {name: sum(int(row.get(name) or 0) for row in explained) for name in costs},
    }
