"""From Hydra's configuration to objects: the one place, with the scripts, that knows Hydra."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fido.classifiers.base import Classifier
from fido.classifiers.folding import fold_batch_norms
from fido.runs.shards import EXECUTION_KEYS, shard_name
from fido.runtime.memory import keep_freed_memory

SETTINGS = ("classifier", "infiller", "objective", "mask", "explainer")


def build(node: DictConfig, **shared: Any) -> Any:
    """Instantiate a config leaf; what it leaves open (`???`) is filled from `shared` by name.

    So the leaf itself says what it shares with the rest of the run: a classifier, an infiller, a
    folder. Anything else that is open stays an error.

    Raises:
        ValueError, FileNotFoundError, ImportError: As the constructor raised them.
    """
    fill = {name: shared[name] for name in shared if OmegaConf.is_missing(node, name)}
    given = OmegaConf.masked_copy(node, [str(name) for name in node if name not in fill])
    given._set_parent(node._get_parent())  # interpolations reach the rest of the configuration
    try:
        # Shared objects go to the constructor itself: Hydra would try to instantiate their parts.
        return instantiate(given, _convert_="all", _partial_=True)(**fill)
    except InstantiationException as error:
        own = _own(error)
        if own is error:
            raise
        raise own from None


def build_classifier(node: DictConfig, device: torch.device) -> Classifier:
    """The run's classifier, its batch normalisations folded, on the device.

    Folding happens before the move, so that the weights, and with them the keys of scores on disk,
    are the same for every device. On a CPU the process keeps the memory of its passes from here on.
    """
    if device.type == "cpu":
        keep_freed_memory()
    classifier: Classifier = build(node)
    return fold_batch_norms(classifier).to(device)


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """The part of a configuration that determines the maps, resolved to plain values.

    Target and seed are not among it: they are part of every result's key, so that several of them
    live in one folder. An explainer's own seed counts if it is another one than the run's.
    """
    whole = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(whole, dict)
    chosen: dict[str, Any] = {name: whole[name] for name in SETTINGS}
    if chosen["explainer"].get("seed") == whole["seed"]:
        del chosen["explainer"]["seed"]
    # Which images are explained may change from run to run; how they are cut may not.
    chosen["data"] = {"resize": whole["data"]["resize"]}
    for part in chosen.values():
        if isinstance(part, dict):
            part.pop("rows_per_pass", None)  # how much memory a run may take changes no map
    return chosen


def logged_settings(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """The whole configuration of `explain.py`, and as `axis/<name>` what runs are compared by.

    The axes have names of their own because a W&B sweep locks the keys that it sets: where it
    chooses `infiller=ca`, the run's `infiller` is that word and nothing below it. What the
    explainer does not use is None.

    Args:
        cfg: The configuration.
        choices: Config group to the chosen option.
    """
    whole = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(whole, dict)
    used = {kind: choices[kind] for kind in ("objective", "infiller") if kind in set(cfg.explainer)}
    axes = {
        "method": " ".join([choices["explainer"], *used.values()]),
        "infiller": used.get("infiller"),
        "objective": used.get("objective"),
        "sparsity": cfg.explainer.objective.sparsity if "objective" in used else None,
    }
    return {**whole, **{f"axis/{name}": value for name, value in axes.items()}}


def pick_device(name: str) -> torch.device:
    """A torch device; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ValueError: If there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={name} cannot be used here: {error}") from error


def prepare_command_line() -> None:
    """Register the resolvers that name folders; call it before `hydra.main` runs.

    The sweep's folder is named after the command line and a job's folder after those of its
    overrides that the line does not hold, the swept ones, so that the same line finds the same
    folders and only does what is missing. The line travels in the environment, because jobs may
    run in other processes.
    """
    line = sys.argv[1:]
    if {"-m", "--multirun"} & set(line) or any(word.startswith("sweep=") for word in line):
        os.environ.setdefault("FIDO_SWEEP", folder_name(line))
        os.environ.setdefault("FIDO_SWEEP_LINE", json.dumps(line))
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    OmegaConf.register_new_resolver("shard_name", shard_name, replace=True)


def job_folder(overrides: Sequence[str]) -> str:
    """The folder name of one job of a sweep."""
    # Hydra writes `a=true` of the line as `a=True` into a job's overrides.
    line = {word.lower() for word in json.loads(os.environ.get("FIDO_SWEEP_LINE", "[]"))}
    return folder_name([override for override in overrides if override.lower() not in line])


def folder_name(overrides: Sequence[str]) -> str:
    """A readable folder name of at most 120 characters that differs where the overrides do.

    Overrides that say who does the work do not count: shards of one run share its folder.
    """
    left_out = ("hydra.", *EXECUTION_KEYS)
    kept = [o for o in overrides if o not in ("-m", "--multirun") and not o.startswith(left_out)]
    full = ",".join(sorted(kept)) or "defaults"
    plain = re.sub(r"[^A-Za-z0-9=.,_-]+", "_", full)
    if plain == full and len(plain) <= 120:
        return plain
    return f"{plain[:108]}_{hashlib.sha256(full.encode()).hexdigest()[:8]}"


@contextmanager
def user_errors() -> Iterator[None]:
    """End a single run with an error's own words instead of a traceback.

    In a sweep the error goes on to Hydra, which runs the other jobs and reports this one. Set
    HYDRA_FULL_ERROR=1 to see the traceback.
    """
    try:
        yield
    except (ValueError, OSError, ImportError, InstantiationException) as raised:
        error = _own(raised)
        if not isinstance(error, ValueError | OSError | ImportError):
            raise
        single = HydraConfig.get().mode == RunMode.RUN
        if single and os.environ.get("HYDRA_FULL_ERROR") != "1":
            raise SystemExit(f"error: {error}") from None
        raise


def _own(error: Exception) -> BaseException:
    """What a nested constructor raised, without Hydra's wrapping: people want its own words."""
    cause = error.__cause__
    wrapped = isinstance(error, InstantiationException)
    return cause if wrapped and isinstance(cause, ValueError | OSError | ImportError) else error
