"""What a run is made of: weights by their content, and how it was started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fido import weights
from fido.app.instantiate import settings_of
from fido.classifiers.base import Classifier
from fido.runs.shards import DISPLAY_KEYS, EXECUTION_KEYS, Shard
from fido.runs.sweep import chosen
from fido.runtime.digests import file_digest, folder_digest, network_digest
from fido.runtime.files import write_text

MODEL_FOLDERS = ("config.json", "model_index.json")
"""What a folder must hold to be a model where its name could be a word with another meaning."""


def file_settings(cfg: DictConfig) -> dict[str, Any]:
    """The settings that determine the maps, with the digests of the files that they name.

    Known before any network is built; `run_settings` adds the networks themselves.
    """
    settings = settings_of(cfg)
    named = {k: settings[k] for k in settings if k not in ("classifier", "data")}
    return {**settings, "files": dict(_digests(named))}


def run_settings(cfg: DictConfig, classifier: Classifier, infiller: nn.Module) -> dict[str, Any]:
    """The settings that determine the maps: values, files by content, networks by their weights.

    So a network that was trained again to the same path is another network.

    Args:
        cfg: The configuration.
        classifier: As `build_classifier` returns it.
        infiller: That of the run.
    """
    networks = {"classifier": classifier.weights_sha256, "infiller": network_digest(infiller)}
    return {**file_settings(cfg), "networks": networks}


def _digests(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(setting, sha256) of every file or folder that settings name."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _digests(child, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for place, child in enumerate(node):
            yield from _digests(child, f"{name}.{place}")
    elif isinstance(node, str) and not name.endswith("._target_"):
        digest = _digest(node, name.rpartition(".")[2])
        if digest is not None:
            yield name, digest


def _digest(value: str, key: str) -> str | None:
    """Sha256 of what a setting's value names; None if it is no file."""
    path = Path(value).expanduser()
    plain = path.name == value and not path.suffix
    try:
        if plain and key == "weights" and value in weights.manifest():
            return weights.manifest()[value].sha256
        if path.is_file() and not plain:
            return file_digest(path)
        if path.is_dir() and (not plain or any((path / name).is_file() for name in MODEL_FOLDERS)):
            return folder_digest(path)
        # The prefix of a snapshot of several files, TensorFlow's.
        return folder_digest(path.parent) if Path(f"{path}.index").is_file() else None
    except (OSError, ValueError):  # too long for a name, or not to be read: its reader says so
        return None


def started(choices: Mapping[str, str]) -> dict[str, Any]:
    """How a run was started, to name it in tables: options and settings of the command line."""
    kept = {kind: chosen(choices, kind) for kind in ("explainer", "objective", "infiller")}
    overrides: Sequence[str] = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    without = (*EXECUTION_KEYS, *DISPLAY_KEYS)
    given = [word.lstrip("+") for word in overrides if not word.startswith(without)]
    return {"choices": kept, **({"overrides": given} if HydraConfig.initialized() else {})}


def record_configuration(folder: Path, shard: Shard | None = None) -> None:
    """Write `.hydra/` as Hydra would, but only of a run that was not refused.

    Without Hydra, in a worker, nothing is written: who started the worker has done so.

    Args:
        folder: The run's.
        shard: Which share of the images the process has; shards have folders of their own.
    """
    if not HydraConfig.initialized():
        return
    name = "" if shard is None else shard.name
    hydra = HydraConfig.get()
    place = folder / ".hydra" / name
    root: Any = HydraConfig.instance().cfg  # with the task's configuration
    task = OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"])
    write_text(place / "config.yaml", OmegaConf.to_yaml(task))
    write_text(place / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.masked_copy(root, ["hydra"])))
    write_text(place / "overrides.yaml", OmegaConf.to_yaml(hydra.overrides.task))
