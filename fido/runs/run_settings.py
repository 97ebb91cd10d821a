"""What determines the maps of a folder, so that those of other settings never mix."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fido.runs.result_file import FORMAT, OtherFormatError
from fido.runtime.files import create_json, read_json

FILE = "settings.json"


class SettingsMismatchError(ValueError):
    """A folder holds explanations made with other settings than those of this run."""


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a folder; empty for one that was begun without.

    Raises:
        DamagedFileError: If the file cannot be read.
        OtherFormatError: If another version of fido wrote it.
    """
    settings = read_json(folder / FILE)
    if settings and settings.pop("format", None) != FORMAT:
        raise OtherFormatError(folder)
    return settings


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a folder, or see that they are those that it was begun with.

    Raises:
        SettingsMismatchError: If they are not; names those that differ.
    """
    if create_json(folder / FILE, {"format": FORMAT, **settings}):
        return
    before = dict(_flat(read_settings(folder)))
    # Through JSON and back, so that tuples and lists compare equal.
    now = dict(_flat(json.loads(json.dumps(settings))))
    differ = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differ:
        lines = [f"  {key}: {before.get(key)} there, {now.get(key)} now" for key in differ]
        raise SettingsMismatchError(
            f"{folder} holds explanations made with other settings:\n"
            + "\n".join(lines)
            + "\nChoose another folder (hydra.run.dir=DIR) or the same settings."
        )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("a.b.c", leaf) for every leaf of nested mappings."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
