"""The shards of a run on a Ray cluster: `executor=ray`."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fido.app.explain import REGION, Choices, execute, shard_configurations
from fido.app.provenance import file_settings, record_configuration, started
from fido.evaluation.scoring_observer import rows_with_stored_scores
from fido.loggers.terminal import Terminal
from fido.runs.photos import PhotoMismatchError
from fido.runs.run_settings import SettingsMismatchError, check
from fido.runs.runner import AVERAGED
from fido.runs.shards import shard_name
from fido.runs.store import ResultsStore
from fido.runtime.files import read_json


class Ray:
    """Executes the shards of a run as Ray tasks, and those of workers that died again.

    A shard that is started again goes on where it stopped, because the store says what is done.

    Args:
        address: Of a running cluster; None takes RAY_ADDRESS, else starts a cluster on this
            machine for the time of the run.
        num_shards: Tasks that the images are split into; None takes as many as fit at once.
        cpus: CPU cores a task, which are its threads, too.
        gpus: GPUs a task; a fraction shares one.
        max_retries: How often a task is started again after its worker died; -1 is without end.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        address: str | None = None,
        num_shards: int | None = None,
        cpus: float = 1,
        gpus: float = 0,
        max_retries: int = 3,
    ) -> None:
        if num_shards is not None and (type(num_shards) is not int or num_shards < 1):
            raise ValueError(
                f"executor.num_shards must be a whole number from 1, or null; got {num_shards!r}"
            )
        if type(max_retries) is not int or max_retries < -1:
            raise ValueError(
                f"executor.max_retries must be a whole number from -1, got {max_retries!r}"
            )
        for name, value, least in (("cpus", cpus, "above 0"), ("gpus", gpus, "0 or more")):
            if not isinstance(value, int | float) or value < 0 or (name, value) == ("cpus", 0):
                raise ValueError(f"executor.{name} must be {least}, got {value!r}")
        self.address = address
        self.num_shards = num_shards
        self.cpus = cpus
        self.gpus = gpus
        self.max_retries = max_retries

    def __call__(self, cfg: DictConfig, choices: Choices) -> dict[str, Any]:
        """Execute a run; returns the summary that its last shard wrote.

        All shards are waited for, so that one that fails does not stop the others.

        Raises:
            ValueError, OSError, ImportError: The first error of a shard; ChildProcessError (an
                OSError) if its worker died more often than it may.
        """
        if (cfg.num_shards, cfg.shard) != (1, 0):
            raise ValueError(
                "executor=ray splits the images itself: give executor.num_shards=N and leave "
                "num_shards and shard out"
            )
        # Read when Ray is imported; it would hide what one shard says as another has said it.
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise ImportError(
                f"executor=ray needs Ray: pip install 'fido-xai[ray]' ({error})"
            ) from error
        folder = Path(cfg.output_dir)
        check(folder, file_settings(cfg), partly=True)  # before any worker is started
        refused = False
        self._connect(ray)
        try:
            configs = shard_configurations(cfg, self.num_shards or self._fitting(ray))
            resources = {"num_cpus": self.cpus, "num_gpus": self.gpus}
            task = ray.remote(max_retries=self.max_retries, **resources)(execute_shard)
            here = (os.getcwd(), list(sys.path))
            names = (dict(choices), started(choices))
            shards = [task.remote(config, *names, *here) for config in configs]
            self._wait(ray, shards)
        except (SettingsMismatchError, PhotoMismatchError):
            refused = True
            raise
        finally:
            ray.shutdown()
            # Shards that were stopped or have died wrote no table.
            if not refused and (folder / "explanations").is_dir():
                store = ResultsStore(folder)
                store.write_scores(rows_with_stored_scores(store, REGION, AVERAGED))
                record_configuration(folder)
        summary = read_json(folder / "summary.json")
        # What workers print at the very end may not arrive.
        Terminal().close(cfg.output_dir, summary["missing"])
        return summary

    def _connect(self, ray: Any) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports on its use otherwise
        address = self.address or os.environ.get("RAY_ADDRESS")
        if address:
            check_address(address)
            ray.init(address=address)
        else:
            # Results travel through files, so Ray needs no more than its minimum of shared memory.
            ray.init(address="local", include_dashboard=False, object_store_memory=80 * 2**20)

    def _fitting(self, ray: Any) -> int:
        """How many tasks run at once on the cluster as it is; 1 while it has no machine for any."""
        there = ray.cluster_resources()
        fitting = there.get("CPU", 0) / self.cpus
        if self.gpus:
            fitting = min(fitting, there.get("GPU", 0) / self.gpus)
        return max(1, int(fitting))

    def _wait(self, ray: Any, shards: list[Any]) -> None:
        failed: list[tuple[BaseException, BaseException]] = []
        for index, shard in enumerate(shards):
            try:
                ray.get(shard)
            except ray.exceptions.RayTaskError as error:
                failed.append((error.cause, error))
            except ray.exceptions.RayError as error:
                name = shard_name(index, len(shards)) or "the run"
                words = (
                    f"{name}: its worker died too often (executor.max_retries={self.max_retries}); "
                    "started again in its folder (hydra.run.dir=DIR) it goes on where it stopped"
                )
                failed.append((ChildProcessError(words), error))
        if failed:
            raise failed[0][0] from failed[0][1]


def check_address(address: str, seconds: float = 10) -> None:
    """Ask whether somebody is there; Ray itself keeps trying for minutes.

    Raises:
        ConnectionError: If nobody answers at HOST:PORT within the seconds.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Ray cluster at executor.address={address} ({error}); expected auto, or HOST:PORT "
            "as `ray start --head` says it"
        ) from error


def execute_shard(
    config: dict[str, Any],
    choices: dict[str, str],
    made_by: dict[str, Any],
    folder: str,
    modules: list[str],
) -> None:
    """What a worker does.

    Args:
        config: The shard's configuration; see `shard_configurations`.
        choices: See `execute`.
        made_by: See `execute`.
        folder: Where the command was given: relative paths begin there.
        modules: Where the command found Python modules, a network of the user's among them.
    """
    os.chdir(folder)
    sys.path += [place for place in modules if place not in sys.path]
    execute(OmegaConf.create(config), choices, made_by)
