"""From Hydra's configuration to an evaluation; with `fido.app.instantiate` what knows Hydra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from fido.app.callbacks import at_end
from fido.app.instantiate import build, build_classifier, pick_device
from fido.classifiers.base import Classifier
from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.parts import Part, parts_by_classifier
from fido.evaluation.samples import PhotoSamples
from fido.evaluation.stored_explanations import StoredExplanations
from fido.infillers.base import Infiller
from fido.metrics.base import ImageMetric
from fido.metrics.subjects import ComparedRows
from fido.report.files import EvaluationResult, write_evaluation
from fido.report.parallel_coordinates import parallel_coordinates, settings_of_name
from fido.report.style import save_figure
from fido.runs.store import ResultsStore
from fido.runs.sweep import groups_of, named_stores

Progress = Callable[[int, int], None]


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
        metrics: dict[str, ImageMetric] = {}
        of_metrics: dict[str, Any] = {
            f"infiller {name}": _plain(node)
            for name, node in (self.cfg.get("infillers") or {}).items()
        }
        nodes = {str(name): node for name, node in (self.cfg.get("metrics") or {}).items()}
        uses = {name for name, node in nodes.items() if OmegaConf.is_missing(node, "classifier")}
        classifier = self._build_classifier(settings) if uses else None
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

    def _build_classifier(self, settings: Mapping[str, Any]) -> Classifier:
        if settings == self.default:
            return self.classifier
        try:
            return build_classifier(OmegaConf.create(dict(settings)), self.device)
        except (ValueError, OSError, ImportError, InstantiationException) as error:
            raise ValueError(
                f"the classifier that a store explains cannot be built: {error}; with "
                "evaluation.own_classifier=false and classifier=NAME it is scored with that one"
            ) from error


def evaluation_of_stores(
    cfg: DictConfig,
    classifier: Classifier | None,
    device: torch.device,
    stores: Mapping[str, ResultsStore],
    sweeps: Mapping[str, list[str]],
    folder: Path,
    progress: Progress | None = None,
) -> Evaluation:
    """Score the explanations of stores, each with the classifier that it explains.

    Args:
        cfg: Has `metrics`, `evaluation`, `classifier` and, where infillers are scored, `infillers`.
        classifier: That of the configuration, for stores that explain it and those that do not say
            what they explain; None builds it when it is needed.
        device: Where everything is built.
        stores: Row name to store.
        sweeps: Name of a sweep to the names of its stores.
        folder: For scores that belong to no store.
        progress: See `Evaluation`.

    Raises:
        ValueError: If the classifier of a store cannot be built.
    """
    builder = MetricBuilder(cfg, device, classifier)
    stored = StoredExplanations(stores)
    parts = parts_by_classifier(
        stored,
        _compared(cfg, builder, list(stores), groups_of(stores, sweeps, cfg.evaluation.group_by)),
        builder,
        cfg.evaluation.own_classifier,
        cfg.evaluation.only_correct,
        cfg.evaluation.common_images_only,
    )
    return Evaluation(parts, stored, folder, progress)


def evaluation_of_photos(
    cfg: DictConfig,
    classifier: Classifier,
    device: torch.device,
    folder: Path,
    progress: Progress | None = None,
) -> Evaluation:
    """Score photos without explanations: infillers, and rows without an explainer."""
    builder = MetricBuilder(cfg, device, classifier)
    source = build(
        cfg.data,
        size=classifier.size,
        crop_fraction=classifier.crop_fraction,
        interpolation=classifier.interpolation,
    )
    samples, compared = PhotoSamples(source, classifier), _compared(cfg, builder)
    part = Part("", *builder(), samples, compared)
    return Evaluation([part], StoredExplanations({}), folder, progress)


def _compared(
    cfg: DictConfig,
    builder: MetricBuilder,
    stores: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> ComparedRows:
    options = cfg.evaluation
    reference_rows = list(options.reference_rows)
    return ComparedRows(stores, builder.infillers, groups or {}, reference_rows, options.seed)


def check_baseline(cfg: DictConfig, evaluation: Evaluation) -> None:
    """Refuse a baseline that no table has, before anything is scored.

    A job of a sweep is not checked: the baseline may be another job.

    Raises:
        ValueError: Names the rows that there are.
    """
    baseline = cfg.evaluation.compare_to
    rows = dict.fromkeys(row for metric in evaluation.tables for row in evaluation.rows(metric))
    if baseline is not None and rows and baseline not in rows:
        raise ValueError(f"evaluation.compare_to={baseline} is no row; there are {', '.join(rows)}")


def finish(cfg: DictConfig, evaluation: Evaluation, folder: Path) -> EvaluationResult:
    """Score what is left to score and write tables and figures."""
    options = cfg.evaluation
    bootstrap = Bootstrap(options.resamples, options.level, options.seed)
    return write_evaluation(folder, evaluation, evaluation.run(), options.compare_to, bootstrap)


class ScoreSweep(Callback):
    """Writes `<sweep folder>/<evaluation.name>` when the sweep has ended, also with failed jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Arrange for the scores."""
        folder = Path(config.hydra.sweep.dir).resolve()
        if config.get("metrics"):
            at_end(lambda: score_sweep(config, folder))


def score_sweep(cfg: DictConfig, folder: Path) -> EvaluationResult | None:
    """Score the stores below a sweep's folder; None if no job has left an explanation."""
    if not any(folder.rglob("explanations/*.safetensors")):
        return None
    stores, sweeps = named_stores([str(folder)])
    out = folder / cfg.evaluation.name
    evaluation = evaluation_of_stores(cfg, None, pick_device(cfg.device), stores, sweeps, out)
    try:
        check_baseline(cfg, evaluation)
    except ValueError as error:  # hours of explanations are worth a table all the same
        print(f"{error}; differences are from each table's first method")
    evaluated = finish(cfg, evaluation, out)
    settings = {name: settings_of_name(name) for name in stores}
    figure = parallel_coordinates(evaluated.summaries, settings)
    if figure is not None:
        save_figure(figure, out / "figures" / "settings_and_scores.png")
    print(f"scores of the sweep: {out / 'tables.md'}")
    return evaluated


def evaluation_of_run(
    cfg: DictConfig,
    classifier: Classifier,
    device: torch.device,
    store: ResultsStore,
    name: str,
) -> Evaluation:
    """Score the explanations of the run that writes to a store, by this name."""
    folder = store.folder / cfg.evaluation.name
    return evaluation_of_stores(cfg, classifier, device, {name: store}, {}, folder)


def _plain(node: Any) -> dict[str, Any]:
    """A configuration as plain values."""
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
