"""Names of files on the command line, which hold whatever people call their photos."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

PLAIN = re.compile(r"[A-Za-z0-9_./:*?%+@-]*")
"""What Hydra's grammar takes as it is."""


def quoted(words: Sequence[str]) -> list[str]:
    """A command line for Hydra in which the names of existing files are quoted.

    `data.path=photo (1).jpg` is such a name if there is that file, and so is the folder of a
    pattern. `store=DIR,DIR` is a list, never a sweep. Other values stay as they are.
    """
    return [_quoted(word) for word in words]


def split_folders(text: str) -> list[str]:
    """`DIR,DIR` to folders, whose names may hold commas themselves.

    Pieces between commas are joined to the longest name of an existing folder.
    """
    pieces = text.split(",")
    folders = []
    while pieces:
        joined = [",".join(pieces[:k]) for k in range(len(pieces), 0, -1)]
        folder = next((name for name in joined if Path(name).expanduser().is_dir()), pieces[0])
        folders.append(folder)
        pieces = pieces[folder.count(",") + 1 :]
    return folders


def _quoted(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or not value or word.startswith("-") or value[0] in "[{'\"":
        return word
    if key == "store":
        return f"store=[{','.join(_string(folder) for folder in split_folders(value))}]"
    if PLAIN.fullmatch(value) or not _exists(value):
        return word
    return f"{key}={_string(value)}"


def _exists(value: str) -> bool:
    folder = value.partition("*")[0].partition("?")[0].rpartition("/")[0]
    try:
        path = Path(value).expanduser()
        # Of a pattern the folder must be there; commas of a sweep over names are left to Hydra.
        return path.exists() or ("*" in value and bool(folder) and Path(folder).is_dir())
    except (OSError, ValueError):  # too long for a name
        return False


def _string(text: str) -> str:
    """A string of Hydra's grammar; interpolations stay."""
    return json.dumps(text, ensure_ascii=False)
