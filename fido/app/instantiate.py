"""From Hydra's configuration to objects: the one place, with the scripts, that knows Hydra."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fido.classifiers.base import Classifier
from fido.classifiers.folding import fold_batch_norms
from fido.runs.sweep import chosen
from fido.runtime.digests import network_digest
from fido.runtime.memory import keep_freed_memory

SETTINGS = ("classifier", "infiller", "objective", "mask", "explainer")


def build(node: DictConfig, **shared: Any) -> Any:
    """Instantiate a config leaf; what it leaves open (`???`) is filled from `shared` by name.

    So the leaf itself says what it shares with the rest of the run: a classifier, an infiller, a
    folder. Anything else that is open stays an error.

    Raises:
        ValueError: If something is still open, or of a wrong type.
        ValueError, OSError, ImportError: As the constructor raised them.
    """
    fill = {name: shared[name] for name in shared if OmegaConf.is_missing(node, name)}
    given = OmegaConf.masked_copy(node, [str(name) for name in node if name not in fill])
    for name in given:
        if OmegaConf.is_missing(given, name):
            raise ValueError(f"give {node._get_full_key(name)}=VALUE: it has no default")
    given._set_parent(node._get_parent())  # interpolations reach the rest of the configuration
    given = OmegaConf.create(_literal(OmegaConf.to_container(given, resolve=True)))
    given._set_parent(node._get_parent())  # of which errors speak
    try:
        # Shared objects go to the constructor itself: Hydra would try to instantiate their parts.
        return instantiate(given, _convert_="all", _partial_=True)(**fill)
    except InstantiationException as error:
        own = own_error(error)
        if own is error:
            raise
        raise own from None
    except TypeError as error:  # such as `steps=many`
        raise ValueError(f"{node._get_full_key(None)}: {error}") from error


def _literal(value: Any) -> Any:
    """Plain values in which Hydra's `instantiate` replaces nothing.

    It resolves texts twice, so that "${...}" in the name of a file would be replaced.
    """
    if isinstance(value, dict):
        return {key: _literal(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_literal(child) for child in value]
    if isinstance(value, str) and "${" in value:
        for _ in range(2):
            value = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)
    return value


def build_classifier(node: DictConfig, device: torch.device) -> Classifier:
    """The run's classifier, its batch normalisations folded, on the device.

    Folding happens before the move, so that the weights, and with them the keys of scores on disk,
    are the same for every device. On a CPU the process keeps the memory of its passes from here on.
    """
    if device.type == "cpu":
        keep_freed_memory()
    classifier: Classifier = build(node)
    classifier.weights_sha256 = network_digest(classifier)
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
    if whole["data"].get("range", "auto") != "auto":
        chosen["data"]["range"] = whole["data"]["range"]
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
    kinds = [kind for kind in ("objective", "infiller") if kind in set(cfg.explainer)]
    used = {kind: chosen(choices, kind) for kind in kinds}
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


def own_error(error: BaseException) -> BaseException:
    """What a nested constructor raised, without Hydra's wrapping: people want its own words."""
    cause = error.__cause__
    wrapped = isinstance(error, InstantiationException)
    return cause if wrapped and isinstance(cause, ValueError | OSError | ImportError) else error
