"""`fido explain`: a run, composed from its configuration and executed, whole or a shard of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from fido.app.evaluate import evaluation_of_run, finish
from fido.app.instantiate import build, build_classifier, logged_settings, pick_device
from fido.app.originals import originals_of
from fido.app.provenance import file_settings, record_configuration, run_settings, started
from fido.app.report import report_of
from fido.evaluation.scoring_observer import ScoringObserver
from fido.explainers.counterfactual import CounterfactualExplainer
from fido.loggers.base import Listeners
from fido.loggers.terminal import Terminal
from fido.report.about import about_run
from fido.report.explanation_figure import FigureObserver
from fido.report.exports import check_kinds, write_exports
from fido.report.terminal import print_scores
from fido.runs.counterfactual_row import COUNTERFACTUAL
from fido.runs.run_settings import check
from fido.runs.runner import AVERAGED, Runner, set_aside_damaged
from fido.runs.shards import Shard
from fido.runs.store import ResultsStore
from fido.runs.sweep import chosen
from fido.runs.target import TargetChoice, check_labels, check_target, class_index
from fido.runs.target_pairs import read_pairs
from fido.runtime.environment import describe_environment
from fido.runtime.files import write_json

REGION = "region"
"""The metric that every run is scored by; its numbers stand in `scores.csv`."""

SAID_BELOW = 0.9
"""Share of a photo's area; what is cut off beyond is said."""

Choices = Mapping[str, str]
"""Config group to the chosen option, as Hydra knows them."""


Returned = float | None | list[float | None]
"""What a job tells a sweeper that searches (Optuna)."""


def run(cfg: DictConfig) -> Returned:
    """Have one run executed, here or by workers."""
    choices = {str(group): str(to) for group, to in HydraConfig.get().runtime.choices.items()}
    check_optimized_metric(cfg.optimized_metric)
    summary = build(cfg.executor)(cfg, choices)
    check_explained(summary)
    # A job's sweep has a report of all jobs; of shards the last one writes it.
    if cfg.report and cfg.sweep_name is None and not summary["missing"]:
        print(f"report: {report_of(Path(cfg.output_dir))}")
    return optimized_values(summary, cfg.optimized_metric)


def check_explained(summary: Mapping[str, Any]) -> None:
    """End a run that has explained nothing as one that has failed.

    Raises:
        ValueError: Counts what there is instead.
    """
    counts = summary["images"]
    if not counts.get("explained") and not summary["missing"]:
        others = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise ValueError(f"nothing was explained: {others or 'no images'}; scores.csv has reasons")


class Local:
    """Executes a run in this process: `executor=local`."""

    def __call__(self, cfg: DictConfig, choices: Choices) -> dict[str, Any]:
        """See `execute`."""
        return execute(cfg, choices)


def execute(
    cfg: DictConfig, choices: Choices, made_by: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Build everything, explain this process's share of the images, write what belongs to all.

    Tables of metrics are made of all images, so of several shards the last one writes them.

    Args:
        cfg: The configuration of `explain.py`; needs no running Hydra if it has no interpolations.
        choices: For names of methods.
        made_by: How the run was started; None asks Hydra. See `started`.

    Returns:
        The summary; see `Runner.run`.

    Raises:
        ValueError, OSError, ImportError: In words for the command line.
    """
    check_kinds(list(cfg.export))
    shard = Shard(cfg.shard, cfg.num_shards)
    device = pick_device(cfg.device)
    check(Path(cfg.output_dir), file_settings(cfg), partly=True)  # before networks are built
    terminal, settings = (
        Terminal(title=shard.name, folder=cfg.output_dir),
        logged_settings(cfg, choices),
    )
    progress = Listeners(terminal)
    classifier = build_classifier(cfg.classifier, device)
    shared = {
        "classifier": classifier,
        "infiller": build(cfg.infiller).to(device),
        "progress": progress,
        "folder": cfg.output_dir,
        "settings": settings,
        "class_names": classifier.class_names,
        "size": classifier.size,
        "crop_fraction": classifier.crop_fraction,
        "interpolation": classifier.interpolation,
    }
    source = build(cfg.data, **shared)
    explainer = build(cfg.explainer, **shared)
    check_counterfactual(cfg, isinstance(explainer, CounterfactualExplainer))
    for target in targets_of(cfg.target):
        check_target(target, classifier.class_names)
    choice = target_choice(cfg, classifier.class_names)
    entries = source.selected()
    check_labels(targets_of(cfg.target), [entry.label for entry in entries])
    # All that can be refused is refused before anything is written into the folder.
    settings_there = run_settings(cfg, classifier, shared["infiller"])
    store = ResultsStore(cfg.output_dir, settings_there, made_by or started(choices))
    store.check_photos((entry.id, entry.path) for entry in entries)
    record_configuration(store.folder, shard)
    terminal.about, terminal.fills = about_run(store), _fills(cfg, choices)
    _write_environment(store.folder, shard, describe_environment(device))
    set_aside_damaged(store, [terminal])  # before anything lists the store
    name, evaluated = settings["axis/method"], None
    scoring = evaluation_of_run(_with_region(cfg), classifier, device, store, name)
    with build(cfg.logger, **shared) as logger, terminal:
        progress.listeners.append(logger.progress)
        scored = ScoringObserver(scoring, REGION, observers=(terminal, logger))
        figures = FigureObserver(store, cfg.plots.dpi, cfg.plots.format)
        summaries = [
            Runner(
                classifier,
                shared["infiller"],
                explainer,
                store,
                target,
                cfg.batch_size,
                cfg.seed,
                observers=(*([figures] if cfg.figures else []), scored),
                shard=shard,
                with_scores=scored.with_scores,
                choice=choice,
            ).run(source, entries)
            for target in targets_of(cfg.target)
        ]
        summary = whole_summary(summaries)
        logger.summary(summary)
        logger.measures({f"mean/{key}": mean for key, mean in summary["mean"].items()})
        if cfg.export and not summary["missing"]:
            exported = write_exports(store, list(cfg.export), None, originals_of(source))
            print(f"exports: {exported}")
        explained = summary["images"].get("explained", 0)
        if cfg.get("metrics") and explained and not summary["missing"]:
            evaluated = finish(cfg, scoring, store.folder / cfg.evaluation.name)
            logger.measures(evaluated.means(name))
            logger.scores(evaluated.folder / "scores.csv", evaluated.figures)
    terminal.close(cfg.output_dir, summary["missing"], store.scores(terminal.shown), explained)
    if source.least_share < SAID_BELOW:
        terminal.say(
            f"cropped: of a photo the classifier was shown {source.least_share:.0%} of the area, "
            "of others as much or more; data.resize=letterbox shows all of it"
        )
    if evaluated is not None:
        print_scores(evaluated)
    return summary


def _fills(cfg: DictConfig, choices: Choices) -> str:
    """Says by what regions are infilled where that is not one for table and picture."""
    plain = []
    for infiller in (cfg.infiller, cfg.region.infiller):
        settings: Any = OmegaConf.to_container(infiller, resolve=True)
        plain.append({name: settings[name] for name in settings if name != "rows_per_pass"})
    if plain[0] == plain[1]:
        return ""
    of_table = choices.get("infiller@region.infiller", plain[1]["_target_"])
    return (
        f"region kept, region removed: infilled by {of_table} whatever the method, "
        f"in the picture by {chosen(choices, 'infiller')}"
    )


def _with_region(cfg: DictConfig) -> DictConfig:
    """The configuration whose metrics are those that are asked for and, always, the region's."""
    whole = copy.deepcopy(cfg)
    with open_dict(whole):
        whole.metrics = {REGION: cfg.region, **(cfg.get("metrics") or {})}
        if not cfg.get("metrics"):  # no table wants reference rows
            whole.evaluation.reference_rows = []
    return whole


def targets_of(target: str | int | list[str | int] | ListConfig) -> list[str | int]:
    """The targets of a run: `target=second`, or several for every photo, `target=[predicted,cup]`.

    Raises:
        ValueError: If there is none.
    """
    several = [*target] if isinstance(target, list | ListConfig) else [target]
    if not several:
        raise ValueError("target=[]: give predicted, second, label, a class name or a class index")
    return several


def whole_summary(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One summary of the runs over several targets.

    The last one is of the whole store; what is missing, and what this run has done, adds up.
    """
    whole = dict(summaries[-1])
    whole["missing"] = sum(one["missing"] for one in summaries)
    whole["this_run"] = {
        "images": sum(one["this_run"]["images"] for one in summaries),
        "seconds": round(sum(one["this_run"]["seconds"] for one in summaries), 3),
    }
    return whole


def check_counterfactual(cfg: DictConfig, makes_counterfactuals: bool) -> None:
    """Refuse what a method with, or without, counterfactual images cannot do.

    Raises:
        ValueError: Says what to give.
    """
    if makes_counterfactuals and "predicted" in targets_of(cfg.target):
        raise ValueError(
            "target=predicted: the photo is of this class already, and a counterfactual needs "
            "another one; give target=second, a class name or a class index"
        )
    asked = _names(cfg.optimized_metric)
    wrong = [name for name in asked if name in COUNTERFACTUAL]
    if wrong and not makes_counterfactuals:
        raise ValueError(
            f"optimized_metric={wrong[0]} is of counterfactual images, and this explainer makes "
            "none; take explainer=dvce, for instance"
        )


def target_choice(cfg: DictConfig, class_names: Sequence[str]) -> TargetChoice:
    """What target=second and target=pairs choose from.

    Raises:
        ValueError, FileNotFoundError: If a class does not exist; see `read_pairs`.
    """
    among = None
    if cfg.target_classes is not None:
        given = [str(name) for name in cfg.target_classes]
        among = [
            int(name)
            if name.isdigit() and name not in class_names and int(name) < len(class_names)
            else class_index(name, class_names)
            for name in given
        ]
    pairs = {}
    if "pairs" in targets_of(cfg.target):
        lines: Any = OmegaConf.to_object(OmegaConf.create({"lines": cfg.target_pairs}))
        pairs = read_pairs(lines["lines"], class_names, cfg.target_kind)
    return TargetChoice(among, pairs)


def check_optimized_metric(wanted: str | Sequence[str] | None) -> None:
    """Refuse what a job cannot return, before it has begun.

    Raises:
        ValueError: Names what it can.
    """
    names = _names(wanted)
    if not names or not set(names) <= set(AVERAGED):
        given = ", ".join(names)
        raise ValueError(f"optimized_metric={given}: give one or a list of {', '.join(AVERAGED)}")


def _names(wanted: str | Sequence[str] | None) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted or [])


def optimized_values(summary: Mapping[str, Any], wanted: str | Sequence[str]) -> Returned:
    """Means over a run's images, one or a list of two or more; None without an image.

    Args:
        summary: See `Runner.run`.
        wanted: A name or names; see `check_optimized_metric`.
    """
    means: Mapping[str, float | None] = summary["mean"]
    values = [means.get(name) for name in ([wanted] if isinstance(wanted, str) else wanted)]
    return values[0] if len(values) == 1 else values


def shard_configurations(cfg: DictConfig, count: int) -> list[dict[str, Any]]:
    """The configurations of all shards of a run, in plain values for other processes."""
    plain = []
    for index in range(count):
        one = copy.deepcopy(cfg)
        one.shard, one.num_shards = index, count
        container = OmegaConf.to_container(one, resolve=True)
        assert isinstance(container, dict)
        plain.append({str(key): value for key, value in container.items()})
    return plain


def _write_environment(folder: Path, shard: Shard, environment: dict[str, Any]) -> None:
    """`env.json` is of the process that started last; each shard also has a file of its own."""
    write_json(folder / "env.json", environment)
    if shard.name:
        write_json(folder / "env" / f"{shard.name}.json", environment)
