"""Which runs of a sweep are scored together, and what is said of them beside the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fido.evaluation.bootstrap import Bootstrap
from fido.evaluation.contrasts import contrasts
from fido.report.contrast_tables import write_contrasts
from fido.report.files import EvaluationResult
from fido.report.parallel_coordinates import settings_of_name
from fido.report.pareto_figure import write_pareto
from fido.runs.store import ResultsStore
from fido.runs.sweep import named_stores, overrides_of


def chosen_stores(
    cfg: DictConfig, folders: Sequence[str] | Mapping[str, str]
) -> tuple[dict[str, ResultsStore], dict[str, list[str]]]:
    """The stores of some folders whose settings are those of `evaluation.where`.

    Returns:
        As `fido.runs.sweep.named_stores`.

    Raises:
        FileNotFoundError, ValueError: See there; ValueError if no store has these settings.
    """
    stores, sweeps = named_stores(folders)
    plain: Any = OmegaConf.to_container(OmegaConf.create(cfg.evaluation.where or {}))
    wanted = {f"{key}={_text(value)}" for key, value in plain.items()}
    if not wanted:
        return stores, sweeps
    chosen = {name: store for name, store in stores.items() if wanted <= overrides_of(store.folder)}
    if not chosen:
        raise ValueError(
            f"evaluation.where: no run was started with {' '.join(sorted(wanted))}; "
            f"runs: {', '.join(stores)}"
        )
    return chosen, {name: [r for r in runs if r in chosen] for name, runs in sweeps.items()}


def write_comparisons(
    cfg: DictConfig, evaluated: EvaluationResult, stores: Sequence[str], bootstrap: Bootstrap
) -> None:
    """Write what `evaluation.contrasts` and `evaluation.pareto` ask for, of two runs or more.

    Args:
        cfg: Has `evaluation`.
        evaluated: The tables.
        stores: Names of the runs.
        bootstrap: Makes the intervals.

    Raises:
        ValueError: See `write_pareto`.
    """
    options = cfg.evaluation
    if len(stores) < 2:
        return
    settings = {name: settings_of_name(name) for name in stores}
    for key in options.contrasts:
        found = contrasts(evaluated.summaries, evaluated.frame, settings, key, bootstrap)
        if found:
            path = write_contrasts(evaluated.folder, key, found, options.level)
            print(f"what {key} changes: {path}")
        else:
            print(f"evaluation.contrasts: no two runs differ in {key} alone")
    if options.pareto:
        figure = write_pareto(evaluated.folder, evaluated.summaries, list(options.pareto))
        if figure is not None:
            print(f"runs that no other beats: {figure}")


def _text(value: Any) -> str:
    """A value as an override has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
