"""`fido evaluate`: an evaluation, composed from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from fido.app.instantiate import build, build_classifier, pick_device
from fido.classifiers.base import Classifier
from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.evaluation import ComparedRows, Evaluation
from fido.evaluation.samples import PhotoSamples, Samples, StoredSamples, check_classifier
from fido.metrics.base import ImageMetric
from fido.report.files import EvaluationResult, write_evaluation
from fido.report.infillers import write_infillers
from fido.report.parallel_coordinates import parallel_coordinates, settings_of_name
from fido.report.style import save_figure
from fido.report.terminal import ScoreProgress, print_scores
from fido.runs.store import ResultsStore
from fido.runs.sweep import groups_of, named_stores
from fido.runtime.environment import describe_environment
from fido.runtime.files import write_json

Progress = Callable[[int, int], None]


def run(cfg: DictConfig) -> None:
    """Score stores, or photos, and write tables and figures.

    Raises:
        ValueError, OSError, ImportError: In words for the command line.
    """
    # An experiment may say how photos are cut; which ones is for data=NAME to say.
    if (cfg.store is None) == ("_target_" not in (cfg.get("data") or {})):
        raise ValueError("give store=DIR[,DIR...] or data=NAME ..., one of the two")
    device = pick_device(cfg.device)
    folder, progress = Path(cfg.output_dir), ScoreProgress()
    write_json(folder / "env.json", describe_environment(device))
    classifier = build_classifier(cfg.classifier, device)
    if cfg.store is None:
        evaluation = evaluation_of_photos(cfg, classifier, device, folder, progress)
    else:
        stores, sweeps = named_stores(given_stores(cfg.store))
        evaluation = evaluation_of_stores(cfg, classifier, device, stores, sweeps, folder, progress)
    check_baseline(cfg, evaluation)
    settings = OmegaConf.to_container(cfg, resolve=True)
    with build(cfg.logger, folder=cfg.output_dir, settings=settings) as logger:
        evaluated = finish(cfg, evaluation, folder)
        figures = dict(evaluated.figures)
        if cfg.figures is not None:
            options = build(OmegaConf.create({"_target_": "builtins.dict", **cfg.figures}))
            figures |= write_infillers(folder, evaluation, evaluated, classifier, **options)
        logger.summary(evaluated.plain())
        logger.scores(folder / "scores.csv", figures)
    if cfg.figures is None:
        print_scores(evaluated)
    else:
        print((folder / "by_law.md").read_text(encoding="utf-8"))
        print(f"tables, figures, scores: {folder}")


def given_stores(store: Any) -> list[str] | dict[str, str]:
    """`store=...` of a command line: folders, or name to folder."""
    plain: Any = OmegaConf.to_object(store) if OmegaConf.is_config(store) else [str(store)]
    names: list[str] | dict[str, str] = plain
    return names


def build_metrics(
    cfg: DictConfig, classifier: Classifier, device: torch.device
) -> tuple[dict[str, ImageMetric], dict[str, Any]]:
    """The metrics of a configuration, and for each what determines its scores."""
    metrics: dict[str, ImageMetric] = {}
    settings: dict[str, Any] = {}
    for name, node in (cfg.get("metrics") or {}).items():
        metrics[str(name)] = build(node, classifier=classifier).to(device)
        plain = OmegaConf.to_container(node, resolve=True)
        assert isinstance(plain, dict)
        if OmegaConf.is_missing(node, "classifier"):
            plain["classifier"] = OmegaConf.to_container(cfg.classifier, resolve=True)
        plain.pop("rows_per_pass", None)  # changes how, not what
        settings[str(name)] = plain
    return metrics, settings


def evaluation_of_stores(
    cfg: DictConfig,
    classifier: Classifier,
    device: torch.device,
    stores: Mapping[str, ResultsStore],
    sweeps: Mapping[str, list[str]],
    folder: Path,
    progress: Progress | None = None,
) -> Evaluation:
    """Score the explanations of stores.

    Args:
        cfg: Has `metrics`, `evaluation`, `classifier` and, where infillers are scored, `infillers`.
        classifier: The one that metrics use.
        device: Where it lives.
        stores: Row name to store.
        sweeps: Name of a sweep to the names of its stores.
        folder: For scores that belong to no store.
        progress: See `Evaluation`.

    Raises:
        ValueError: If a metric uses the classifier and a store explains another one.
    """
    metrics, settings = build_metrics(cfg, classifier, device)
    of_classifier = OmegaConf.to_container(cfg.classifier, resolve=True)
    uses = any("classifier" in plain for plain in settings.values())
    if cfg.evaluation.check_classifier and uses:
        assert isinstance(of_classifier, dict)
        others = check_classifier(stores, {str(k): v for k, v in of_classifier.items()})
        if others:
            raise ValueError(
                f"{others[0]!r} explains another classifier than the metrics would use; give that "
                "one (classifier=NAME ...), or evaluation.check_classifier=false to score it "
                "with this one"
            )
    groups = groups_of(stores, sweeps, cfg.evaluation.group_by)
    samples = StoredSamples(stores, cfg.evaluation.only_correct, cfg.evaluation.common_images_only)
    return _evaluation(cfg, device, metrics, settings, samples, stores, groups, folder, progress)


def evaluation_of_photos(
    cfg: DictConfig,
    classifier: Classifier,
    device: torch.device,
    folder: Path,
    progress: Progress | None = None,
) -> Evaluation:
    """Score photos without explanations: infillers, and rows without an explainer."""
    metrics, settings = build_metrics(cfg, classifier, device)
    source = build(
        cfg.data,
        size=classifier.size,
        crop_fraction=classifier.crop_fraction,
        interpolation=classifier.interpolation,
    )
    samples = PhotoSamples(source, classifier)
    return _evaluation(cfg, device, metrics, settings, samples, {}, {}, folder, progress)


def _evaluation(
    cfg: DictConfig,
    device: torch.device,
    metrics: Mapping[str, ImageMetric],
    settings: dict[str, Any],
    samples: Samples,
    stores: Mapping[str, ResultsStore],
    groups: Mapping[str, list[str]],
    folder: Path,
    progress: Progress | None,
) -> Evaluation:
    infillers = cfg.get("infillers") or {}
    infillers = {str(name): build(node).to(device) for name, node in infillers.items()}
    for name, node in infillers.items():
        settings[f"infiller {name}"] = OmegaConf.to_container(node, resolve=True)
    reference_rows = list(cfg.evaluation.reference_rows)
    compared = ComparedRows(stores, infillers, groups, reference_rows, cfg.evaluation.seed)
    return Evaluation(metrics, settings, samples, compared, folder, progress)


def check_baseline(cfg: DictConfig, evaluation: Evaluation) -> None:
    """Refuse a baseline that no table has, before anything is scored.

    A job of a sweep is not checked: the baseline may be another job.

    Raises:
        ValueError: Names the rows that there are.
    """
    baseline = cfg.evaluation.compare_to
    rows = dict.fromkeys(r for m in evaluation.metrics.values() for r in evaluation.rows(m))
    if baseline is not None and rows and baseline not in rows:
        raise ValueError(f"evaluation.compare_to={baseline} is no row; there are {', '.join(rows)}")


def finish(cfg: DictConfig, evaluation: Evaluation, folder: Path) -> EvaluationResult:
    """Score what is left to score and write tables and figures."""
    options = cfg.evaluation
    bootstrap = Bootstrap(options.resamples, options.level, options.seed)
    return write_evaluation(folder, evaluation, evaluation.run(), options.compare_to, bootstrap)


def score_sweep(cfg: DictConfig, folder: Path) -> EvaluationResult | None:
    """Score the stores below a sweep's folder; None if no job has left an explanation."""
    if not any(folder.rglob("explanations/*.safetensors")):
        return None
    stores, sweeps = named_stores([str(folder)])
    device = pick_device(cfg.device)
    classifier = build_classifier(cfg.classifier, device)
    out = folder / cfg.evaluation.name
    evaluation = evaluation_of_stores(cfg, classifier, device, stores, sweeps, out)
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
