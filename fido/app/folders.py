"""Where configurations lie, and how the folders of runs and sweeps are named."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import OmegaConf

from fido.runs.shards import EXECUTION_KEYS

STARTED = time.time() - 1  # clocks of file systems are coarse
LONGEST_NAME = 120  # characters of a folder's name

BEGUN = frozenset(
    (
        ".hydra",
        ".photos",
        "class_names.json",
        "env",
        "env.json",
        "explanations",
        "scores.csv",
        "settings.json",
        "summary.json",
        "wandb",
    )
)
"""What a run leaves in its folder before its first result."""


def conf_folder() -> Path:
    """The folder of configurations: inside an installed package, else that of the clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


class CommandGroups(SearchPathPlugin):
    """Lets Hydra find the config groups of one command, in `conf/<command>/`."""

    command = "explain"

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See `SearchPathPlugin`."""
        search_path.append("fido", f"file://{conf_folder() / self.command}")


def use_groups_of(command: str) -> None:
    """Have Hydra compose with the groups that every command has and with those of this one."""
    CommandGroups.command = command
    Plugins.instance().register(CommandGroups)


def folder_name(overrides: Sequence[str], left_out: Sequence[str] = ()) -> str:
    """A readable folder name of at most 120 characters that differs where the overrides do.

    Overrides that say who does the work do not count: shards of one run share its folder.

    Args:
        overrides: As Hydra knows them: `infiller=ca`.
        left_out: Of those, what needs no name: in a sweep, what all jobs have in common.
    """
    # Hydra writes `a=true` of the line as `a=True` into a job's overrides.
    common = {override.lower() for override in left_out}
    kept = [o for o in overrides if o.lower() not in common and not o.startswith(EXECUTION_KEYS)]
    kept = [override.lstrip("+") for override in kept]
    full = ",".join(sorted(kept)) or "defaults"
    plain = re.sub(r"[^A-Za-z0-9=.,_-]+", "_", full)
    if plain == full and len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(full.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 12]}_{digest}"


def sweep_line(overrides: Sequence[str], job: int | None) -> list[str]:
    """The overrides of a sweep's command line.

    Registered with a cache, which Hydra copies from the sweep to its jobs as it does for `now`: so
    jobs get what the sweep itself had. A job that finds no cached value (without our callbacks)
    gets none, and names its folder by all of its overrides.
    """
    return list(overrides) if job is None else []


def sweep_name() -> str | None:
    """How the runs of a sweep are grouped: its folder's name; None for a single run."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return group_name(str(HydraConfig.get().sweep.dir))


def group_name(folder: str) -> str:
    """What the W&B runs of a sweep have in common, by its folder."""
    return folder.removeprefix("outputs/sweeps/").removeprefix("outputs/")


def new_folder(path: str) -> str:
    """Make a folder that nobody else has: `path`, or `path-2`, ... where runs start together."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tries, made = 1, path
    while True:
        try:
            Path(made).mkdir()
        except FileNotFoundError:  # removed by another run that was refused
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            tries += 1
            made = f"{path}-{tries}"
        else:
            return made


def is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder, or there is none."""
    return not folder.is_dir() or not any(folder.iterdir())


def remove_begun(folder: Path) -> None:
    """Remove what a refused run has left in its folder, unless something was saved in it.

    Args:
        folder: It was empty when the run began.
    """
    if {path.name for path in folder.glob("*")} <= BEGUN and is_empty(folder / "explanations"):
        for path in folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def remove_unused(folder: Path) -> None:
    """Remove a folder that this process has made and left empty, and what it was made in.

    A run that is refused leaves nothing behind.
    """
    for place in (folder, *folder.parents[:2]):
        try:
            if place.stat().st_ctime < STARTED:
                return
            place.rmdir()
        except OSError:  # something is in it
            return


def register_resolvers() -> None:
    """Make the names above known to configurations."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver("sweep_line", sweep_line, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
    OmegaConf.register_new_resolver("new_folder", new_folder, use_cache=True, replace=True)


register_resolvers()  # on import, because jobs may run in processes that only import their task
