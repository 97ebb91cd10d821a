"""Folders on a command line to stores with names for tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fido.runs.run_settings import read_made_by, read_settings
from fido.runs.shards import EXECUTION_KEYS
from fido.runs.store import ResultsStore

UNNAMED_KEYS = (*EXECUTION_KEYS, "experiment=", "data.limit=")
"""Overrides that tell no maps apart: experiments share a folder's maps, limits grow."""


def named_stores(
    folders: Sequence[str] | Mapping[str, str],
) -> tuple[dict[str, ResultsStore], dict[str, list[str]]]:
    """The stores of runs and of sweeps.

    A run's name says its method, objective and infiller; a sweep's runs are named by the settings
    in which they differ. A mapping gives the names itself.

    Args:
        folders: Folders of runs or of sweeps, or name to folder.

    Returns:
        Name to store, and name of each folder that is a sweep to the names of its stores, in
        order.

    Raises:
        FileNotFoundError: If a folder holds no explanations.
        ValueError: If two stores would have one name.
    """
    items: list[tuple[str | None, str]] = (
        list(folders.items())
        if isinstance(folders, Mapping)
        else [(None, folder) for folder in folders]
    )
    found: list[tuple[str, ResultsStore]] = []
    sweeps: dict[str, range] = {}
    for name, folder in items:
        path = Path(folder).expanduser()
        if (path / "explanations").is_dir():
            found.append((name or run_name(path), ResultsStore(path)))
            continue
        within = sweep_stores(path) if path.is_dir() else {}
        if not within:
            raise FileNotFoundError(f"store={folder}: no explanations in this folder")
        first = len(found)
        found += [(_short(differs) or run_name(s.folder), s) for differs, s in within.items()]
        sweeps[name or path.resolve().name] = range(first, len(found))
    names = _different(found)
    stores = {name: store for name, (_, store) in zip(names, found, strict=True)}
    return stores, {sweep: [names[i] for i in runs] for sweep, runs in sweeps.items()}


def run_name(folder: Path) -> str:
    """What a run did: the chosen explainer, with objective and infiller where it uses them."""
    choices = read_made_by(folder).get("choices")
    if not choices:
        return folder.resolve().name
    uses = read_settings(folder).get("explainer", {})
    parts = [choices["explainer"]]
    parts += [chosen(choices, kind) for kind in ("objective", "infiller") if kind in uses]
    return " ".join(map(str, parts))


def chosen(choices: Mapping[str, str], group: str) -> str:
    """The option of a config group; `infiller=generative` is what it stands for.

    Args:
        choices: Config group to the chosen option, as Hydra knows them.
        group: "explainer", "objective" or "infiller".
    """
    option = choices[group]
    generative = f"{group}@generative_{group}"
    return choices[generative] if option == "generative" and generative in choices else option


def groups_of(
    stores: Mapping[str, ResultsStore],
    sweeps: Mapping[str, Sequence[str]],
    across: str | None = None,
) -> dict[str, list[str]]:
    """Which stores' maps are compared with each other.

    Args:
        stores: All stores.
        sweeps: Those of each sweep.
        across: The setting that changes within a group, "seed" say: stores that are equal in all
            others form a group. None makes a group of every sweep, or one of all stores if there
            is no sweep.
    """
    if across is None:
        groups = {name: list(runs) for name, runs in sweeps.items()}
        return groups or {"all": list(stores)}
    found: dict[str, list[str]] = {}
    for name in stores:
        rest = " ".join(token for token in name.split() if not token.startswith(f"{across}="))
        found.setdefault(rest or f"across {across}", []).append(name)
    return found


def _short(differs: str) -> str:
    """What a method is called needs no key: "preset=sp_g" and "explainer=lime" are their values."""
    words = (word.removeprefix("preset=").removeprefix("explainer=") for word in differs.split())
    return " ".join(words)


def _different(found: Sequence[tuple[str, ResultsStore]]) -> list[str]:
    """The names, with the folder's added to those that occur more than once."""
    counts = Counter(name for name, _ in found)
    longer = [
        name if counts[name] == 1 else f"{name} ({store.folder.resolve().name})"
        for name, store in found
    ]
    twice = [name for name, count in Counter(longer).items() if count > 1]
    if twice:
        raise ValueError(
            f"two stores have the name {twice[0]!r}; name them yourself: store='{{A: DIR, B: DIR}}'"
        )
    return longer


def sweep_stores(folder: Path) -> dict[str, ResultsStore]:
    """The stores below a sweep's folder by the settings in which they differ from each other."""
    overrides: dict[Path, list[str]] = {}
    for explanations in sorted(folder.rglob("explanations"), key=_by_number):
        made_by = read_made_by(explanations.parent)
        if "overrides" in made_by and explanations.is_dir():
            overrides[explanations.parent] = made_by["overrides"]
    telling = {
        job: [override for override in given if not override.startswith(UNNAMED_KEYS)]
        for job, given in overrides.items()
    }
    common = set.intersection(*map(set, telling.values())) if len(telling) > 1 else set()

    def joined(given: list[str]) -> str:
        return " ".join(override for override in given if override not in common)

    # Names as short as can be: with what tells no maps apart, or the folder, only where needed.
    short = {job: joined(given) for job, given in telling.items()}
    long = {job: joined(overrides[job]) for job in short}
    often = Counter(short.values())
    names = {job: name if often[name] == 1 else long[job] for job, name in short.items()}
    often = Counter(names.values())
    names |= {job: f"{n} ({job.relative_to(folder)})" for job, n in names.items() if often[n] > 1}
    return {name.strip(): ResultsStore(job) for job, name in names.items()}


def _by_number(path: Path) -> list[tuple[float, str]]:
    """Sorts paths by their words, and by size where both have a number: 2e-05, 14, 112."""
    words = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", str(path))
    return [(float(word), "") if i % 2 else (0.0, word) for i, word in enumerate(words)]


def overrides_of(run: Path) -> set[str]:
    """The settings that a run was started with, "key=value" each."""
    return set(read_made_by(run).get("overrides", ()))
