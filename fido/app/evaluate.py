"""`fido evaluate`: an evaluation, composed from its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from fido.app.instantiate import build, build_classifier, pick_device
from fido.app.metrics import MetricBuilder
from fido.app.provenance import record_configuration
from fido.app.sweep_comparisons import chosen_stores, write_comparisons
from fido.classifiers.base import Classifier
from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.parts import Part, parts_by_classifier
from fido.evaluation.population import only_flipped
from fido.evaluation.samples import PhotoSamples
from fido.evaluation.stored_explanations import StoredExplanations
from fido.metrics.oracles import Oracles
from fido.metrics.subjects import ComparedRows
from fido.report.files import EvaluationResult, write_evaluation
from fido.report.infillers import write_infillers
from fido.report.pages import write_pages
from fido.report.parallel_coordinates import parallel_coordinates, settings_of_name
from fido.report.style import save_figure
from fido.report.terminal import ScoreProgress, print_scores
from fido.runs.store import ResultsStore
from fido.runs.sweep import groups_of
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
    if cfg.store is None:
        classifier = build_classifier(cfg.classifier, device)
        evaluation = evaluation_of_photos(cfg, classifier, device, folder, progress)
    else:
        stores, sweeps = chosen_stores(cfg, given_stores(cfg.store))
        evaluation = evaluation_of_stores(cfg, None, device, stores, sweeps, folder, progress)
    check_baseline(cfg, evaluation)
    record_configuration(folder)
    write_json(folder / "env.json", describe_environment(device))
    settings = OmegaConf.to_container(cfg, resolve=True)
    with build(cfg.logger, folder=cfg.output_dir, settings=settings) as logger:
        evaluated = finish(cfg, evaluation, folder)
        figures = dict(evaluated.figures)
        if cfg.figures is not None:
            classifier = build_classifier(cfg.classifier, device)
            options = build(OmegaConf.create({"_target_": "builtins.dict", **cfg.figures}))
            figures |= write_infillers(folder, evaluation, evaluated, classifier, **options)
        if cfg.pages is not None:
            pages = build(OmegaConf.create({"_target_": "builtins.dict", **cfg.pages}))
            classifier = build_classifier(cfg.classifier, device)
            figures |= write_pages(folder, evaluation, classifier, **pages)
        logger.summary(evaluated.plain())
        logger.scores(folder / "scores.csv", figures)
    if cfg.figures is None:
        print_scores(evaluated)
    else:
        print((folder / "by_mask.md").read_text(encoding="utf-8"))
        print(f"tables, figures, scores: {folder}")


def given_stores(store: Any) -> list[str] | dict[str, str]:
    """`store=...` of a command line: folders, or name to folder."""
    plain: Any = OmegaConf.to_object(store) if OmegaConf.is_config(store) else [str(store)]
    names: list[str] | dict[str, str] = plain
    return names


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
    exclude_guides(parts, stores, builder.classifier_of)
    return Evaluation(parts, stored, folder, progress)


def exclude_guides(
    parts: Sequence[Part],
    stores: Mapping[str, ResultsStore],
    classifier_of: Callable[[Mapping[str, Any]], Classifier],
) -> None:
    """Keep the networks that guided counterfactuals from being their oracles.

    Args:
        parts: What is scored.
        stores: Row name to store.
        classifier_of: See `MetricBuilder.classifier_of`.

    Raises:
        ValueError: If one is an oracle and is not to be skipped, or cannot be built.
    """
    built: dict[str, Classifier] = {}
    for part in parts:
        oracles = [metric for metric in part.metrics.values() if isinstance(metric, Oracles)]
        for name in part.compared.stores if oracles else ():
            guide = (stores[name].settings().get("explainer") or {}).get("guide") or {}
            settings = guide.get("classifier")
            if settings is None:
                continue
            key = json.dumps(settings, sort_keys=True)
            if key not in built:
                built[key] = classifier_of(settings)
            for metric in oracles:
                metric.exclude(built[key], f"the guide of {name}")


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
        class_names=classifier.class_names,
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
    """Score what is left to score and write tables and figures.

    Raises:
        ValueError: If nothing can be scored; counts what there is instead.
    """
    options = cfg.evaluation
    bootstrap = Bootstrap(options.resamples, options.level, options.seed)
    results = evaluation.run()
    if options.only_flipped:
        results = only_flipped(results)
    if not any(len(row.scores) for table in results.values() for row in table.values()):
        raise ValueError(f"nothing was scored: {_counted(evaluation.counts()) or 'no images'}")
    evaluated = write_evaluation(folder, evaluation, results, options.compare_to, bootstrap)
    write_comparisons(cfg, evaluated, list(evaluation.stored.stores), bootstrap)
    return evaluated


def _counted(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Rows with what they hold: "lime: 0 explained, 3 failed"."""
    return "; ".join(
        f"{row}: " + ", ".join(f"{number} {status}" for status, number in held.items())
        for row, held in counts.items()
    )


def score_sweep(cfg: DictConfig, folder: Path) -> EvaluationResult | None:
    """Score the stores below a sweep's folder; None if no job has left an explanation."""
    if not any(folder.rglob("explanations/*.safetensors")):
        return None
    stores, sweeps = chosen_stores(cfg, [str(folder)])
    out = folder / cfg.evaluation.name
    evaluation = evaluation_of_stores(cfg, None, pick_device(cfg.device), stores, sweeps, out)
    try:
        check_baseline(cfg, evaluation)
    except ValueError as error:  # hours of explanations are worth a table all the same
        print(f"{error}; differences are from each table's first method")
    evaluated = finish(cfg, evaluation, out)
    settings = {name: settings_of_name(name) for name in stores}
    figure = parallel_coordinates(evaluated.summaries, settings, cfg.evaluation.level)
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
