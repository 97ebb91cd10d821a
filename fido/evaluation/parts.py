"""An evaluation falls into parts: the stores of one classifier, its metrics, its images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fido.evaluation.samples import Samples, StoredSamples
from fido.evaluation.stored_explanations import StoredExplanations
from fido.metrics.base import ImageMetric
from fido.metrics.subjects import ComparedRows

Settings = Mapping[str, Any]

WEIGHTS = "weights_sha256"
"""Under which a classifier's settings hold the digest of its weights."""

BuildMetrics = Callable[[Settings | None], tuple[Mapping[str, ImageMetric], Settings]]
"""From a classifier's settings to the metrics that use it, and to what determines their scores:
metric name, or "infiller" and a row's name, to settings. None asks for the default classifier.
Metrics that do not use the classifier may be the same objects every time."""


@dataclass(frozen=True, eq=False)
class Part:
    """What is scored with one classifier.

    Attributes:
        classifier: Its name, where several classifiers are compared.
        metrics: Name to metric.
        settings: What determines their scores; see `BuildMetrics`.
        samples: The images.
        compared: The rows.
    """

    classifier: str
    metrics: Mapping[str, ImageMetric]
    settings: Settings
    samples: Samples
    compared: ComparedRows


def parts_by_classifier(
    stored: StoredExplanations,
    compared: ComparedRows,
    build_metrics: BuildMetrics,
    own_classifier: bool = True,
    only_correct: bool = False,
    common: bool = False,
) -> list[Part]:
    """A part for every classifier that the stores explain, in the order of the stores.

    Stores that do not say which classifier they explain are scored with the default one. A group
    of maps belongs to the part of its first store.

    Args:
        stored: The stores.
        compared: All rows.
        build_metrics: Builds the metrics of a classifier; called once a classifier.
        own_classifier: Whether a store is scored with the classifier that it explains; False
            scores all of them with the default one.
        only_correct: See `StoredSamples`.
        common: See `StoredSamples`.
    """
    settings: dict[str, Settings | None] = {}
    names: dict[str, list[str]] = {}
    for name, store in stored.stores.items():
        own = explained_classifier(store.settings()) if own_classifier else None
        text = json.dumps(own, sort_keys=True)
        settings[text] = own
        names.setdefault(text, []).append(name)
    called = classifier_names(list(settings.values()))
    parts = []
    for (text, own), classifier in zip(settings.items(), called, strict=True):
        groups = {row: g for row, g in compared.groups.items() if g and g[0] in names[text]}
        metrics, of_metrics = build_metrics(own)
        samples = StoredSamples(stored, names[text], only_correct, common)
        rows = replace(compared, stores=names[text], groups=groups)
        parts.append(Part(classifier, metrics, of_metrics, samples, rows))
    return parts


def explained_classifier(settings: Settings) -> Settings | None:
    """What a store says of the classifier that it explains; None if it says nothing.

    Args:
        settings: Of the store.

    Returns:
        The classifier's own settings and, where known, the sha256 of its weights: networks that
        were trained again to the same path are two.
    """
    own = settings.get("classifier")
    digest = settings.get("networks", {}).get("classifier")
    return own if own is None or digest is None else {**own, WEIGHTS: digest}


def classifier_names(classifiers: Sequence[Settings | None]) -> list[str]:
    """What to call several classifiers: the constructor, and the settings in which they differ.

    Args:
        classifiers: Settings with "_target_", or None for the default classifier.
    """
    flat = [{} if one is None else dict(one) for one in classifiers]
    keys = [key for key in dict.fromkeys(k for one in flat for k in one) if key != "_target_"]
    differ = [key for key in keys if len({json.dumps(one.get(key)) for one in flat}) > 1]
    return [_name(one, differ) for one in flat]


def _name(settings: Settings, differ: Sequence[str]) -> str:
    if not settings:
        return "default classifier"
    differing = [f"{k}={json.dumps(settings[k])}".replace('"', "") for k in differ if k in settings]
    return " ".join([str(settings.get("_target_", "classifier")).split(".")[-1], *differing])
