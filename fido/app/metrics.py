"""From a configuration to the metrics of one classifier after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from fido.app.instantiate import build, build_classifier
from fido.app.trusted import check_trusted
from fido.classifiers.base import Classifier
from fido.evaluation.parts import WEIGHTS
from fido.infillers.base import Infiller
from fido.metrics.base import ImageMetric


class MetricBuilder:
    """Builds the metrics of a configuration for one classifier after the other.

    Metrics that leave no classifier open are built once and are the same for all.

    Args:
        cfg: Has `metrics`, `classifier` and, where infillers are scored, `infillers`.
        device: Where everything is built.
        classifier: The configuration's own classifier, if it has been built already.
    """

    def __init__(
        self, cfg: DictConfig, device: torch.device, classifier: Classifier | None = None
    ) -> None:
        self.cfg = cfg
        self.device = device
        self.default = _plain(cfg.classifier)
        self._classifier = classifier
        self._shared: dict[str, ImageMetric] = {}
        self.infillers: dict[str, Infiller] = {
            str(name): build(node).to(device) for name, node in (cfg.get("infillers") or {}).items()
        }

    @property
    def classifier(self) -> Classifier:
        """The configuration's own classifier."""
        if self._classifier is None:
            self._classifier = build_classifier(self.cfg.classifier, self.device)
        return self._classifier

    def __call__(
        self, settings: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, ImageMetric], dict[str, Any]]:
        """Metrics that use a classifier, and what determines their scores; see `BuildMetrics`.

        Args:
            settings: Of the classifier; None takes the configuration's own.

        Raises:
            ValueError: If the classifier of a store cannot be built.
        """
        settings = self.default if settings is None else dict(settings)
        explained = settings.pop(WEIGHTS, None)
        metrics: dict[str, ImageMetric] = {}
        of_metrics: dict[str, Any] = {
            f"infiller {name}": _plain(node)
            for name, node in (self.cfg.get("infillers") or {}).items()
        }
        nodes = {str(name): node for name, node in (self.cfg.get("metrics") or {}).items()}
        uses = {name for name, node in nodes.items() if OmegaConf.is_missing(node, "classifier")}
        classifier = self.classifier_of(settings) if uses else None
        if classifier is not None and explained not in (None, classifier.weights_sha256):
            raise ValueError(
                "a store explains a classifier with other weights than those that its settings "
                f"lead to today: sha256 {explained[:12]} there, "
                f"{(classifier.weights_sha256 or 'none')[:12]} now "
                f"({settings.get('weights') or settings.get('_target_')}). Put the old weights "
                "back, or give evaluation.own_classifier=false classifier=NAME to score it with "
                "another one"
            )
        for name, node in nodes.items():
            if name in uses:
                metrics[name] = build(node, classifier=classifier).to(self.device)
            else:
                if name not in self._shared:
                    self._shared[name] = build(node).to(self.device)
                metrics[name] = self._shared[name]
            of_metrics[name] = _plain(node)
            of_metrics[name].pop("rows_per_pass", None)  # changes how, not what
            if name in uses:
                of_metrics[name]["classifier"] = settings
        return metrics, of_metrics

    def classifier_of(self, settings: Mapping[str, Any]) -> Classifier:
        """A classifier that a store speaks of.

        Raises:
            ValueError: If it cannot be built, or its settings would run code of somebody else.
        """
        if settings == self.default:
            return self.classifier
        check_trusted(settings, self.cfg.get("trust", True))  # explain scores its own stores
        try:
            return build_classifier(OmegaConf.create(dict(settings)), self.device)
        except (ValueError, OSError, ImportError, InstantiationException) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the classifier that a store explains cannot be built: {reason} Use "
                "evaluation.own_classifier=false classifier=NAME to score it with that one"
            ) from error


def _plain(node: Any) -> dict[str, Any]:
    """A configuration as plain values."""
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
