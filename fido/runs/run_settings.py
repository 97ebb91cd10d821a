"""What determines the maps of a folder, so that those of other settings never mix."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fido.runs.result_file import FORMAT, OtherFormatError
from fido.runtime.files import DamagedFileError, create_json, read_json, set_aside

FILE = "settings.json"
MADE_BY = "made_by"
GROUPS = (MADE_BY, "classifier", "data", "explainer", "infiller", "networks")
"""What holds settings of its own, where it is there."""


class SettingsMismatchError(ValueError):
    """A folder holds explanations made with other settings than those of this run."""


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a folder; empty for one that was begun without.

    Raises:
        DamagedFileError: If the file cannot be read.
        OtherFormatError: If another version of fido wrote it.
    """
    settings = _read(folder)
    settings.pop(MADE_BY, None)
    return settings


def read_made_by(folder: Path) -> dict[str, Any]:
    """How the first run of a folder was started; empty if it did not say.

    Raises:
        DamagedFileError, OtherFormatError: See `read_settings`.
    """
    made_by: dict[str, Any] = _read(folder).get(MADE_BY, {})
    return made_by


def begin(
    folder: Path, settings: Mapping[str, Any], made_by: Mapping[str, Any] | None = None
) -> None:
    """Write the settings of a folder, or see that they are those that it was begun with.

    Args:
        folder: The run's.
        settings: What determines the maps.
        made_by: How the run was started: "choices", config group to option, and "overrides".
            Nothing is compared with it: it names the run in tables.

    Raises:
        SettingsMismatchError: If the settings are not the same; names those that differ. Or if the
            file cannot be read or is gone, and there are results that it is of.
    """
    # Looked for again: another process may have begun the folder meanwhile.
    there = (folder / FILE).is_file
    if not there() and any(folder.glob("explanations/*.safetensors")) and not there():
        raise SettingsMismatchError(
            f"{folder} holds explanations, and no {FILE} says with which settings they were made. "
            "Choose another folder (hydra.run.dir=DIR), or put the file back"
        )
    content = {"format": FORMAT, **settings, **({MADE_BY: dict(made_by)} if made_by else {})}
    if create_json(folder / FILE, content):
        return
    try:
        check(folder, settings)
    except DamagedFileError as error:
        if any(folder.glob("explanations/*.safetensors")):
            raise SettingsMismatchError(
                f"{folder / FILE} is damaged ({error.reason}), so it is not known with which "
                "settings the explanations there were made. Choose another folder "
                "(hydra.run.dir=DIR), or put the file back"
            ) from error
        set_aside(folder / FILE)
        begin(folder, settings, made_by)


def check(folder: Path, settings: Mapping[str, Any], partly: bool = False) -> None:
    """See that settings are those that a folder was begun with, if it was; see `begin`.

    Args:
        folder: The run's.
        settings: What determines the maps.
        partly: Whether `settings` are not all: other groups of the folder's are not compared.

    Raises:
        SettingsMismatchError: If they are not; names those that differ.
    """
    if not (folder / FILE).is_file():
        return
    there = read_settings(folder)
    lines = differences({k: there[k] for k in there if k in settings or not partly}, settings)
    if lines:
        raise SettingsMismatchError(
            f"{folder} holds explanations made with other settings:\n"
            + "\n".join(lines)
            + "\nChoose another folder (hydra.run.dir=DIR) or the same settings."
        )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each setting that is another one in a file, `there`, than now."""
    before = dict(_flat(there))
    # Through JSON and back, so that tuples and lists compare equal.
    after = dict(_flat(json.loads(json.dumps(now))))
    differ = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [f"  {key}: {before.get(key)} there, {after.get(key)} now" for key in differ]


def _read(folder: Path) -> dict[str, Any]:
    settings = read_json(folder / FILE)
    if not settings and (folder / FILE).is_file():
        raise DamagedFileError(folder / FILE, "it is empty")
    if settings and settings.pop("format", None) != FORMAT:
        raise OtherFormatError(folder)
    for group in GROUPS:
        if not isinstance(settings.get(group, {}), Mapping):
            raise DamagedFileError(folder / FILE, f"{group} is no group of settings")
    made_by = settings.get(MADE_BY, {})
    choices, overrides = made_by.get("choices", {}), made_by.get("overrides", [])
    words = [*choices.values(), *overrides] if isinstance(choices, Mapping) else [None]
    if not isinstance(overrides, list) or not all(isinstance(word, str) for word in words):
        raise DamagedFileError(folder / FILE, f"{MADE_BY} does not say how the run was started")
    return settings


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("a.b.c", leaf) for every leaf of nested mappings."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
