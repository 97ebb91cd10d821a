"""Names of files on the command line, which hold whatever people call their photos."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

PLAIN = re.compile(r"[A-Za-z0-9_./:*?%+@-]*")
"""What Hydra's grammar takes as it is."""

TYPED = re.compile(r"[+-]?[0-9][0-9_.]*(e[+-]?[0-9_]+)?|[+-]?(inf|nan)|true|false|null", re.I)
"""What Hydra's grammar takes for something other than text."""

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "output_dir")
"""Settings that name what need not be there yet, and that are never swept."""

FUNCTIONS = ("network", "function")
"""Last parts of settings that are a user's own function with the arguments that it has."""

VALUED_FLAGS = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
                "--config-dir", "-cd", "--experimental-rerun", "--info", "-i")  # fmt: skip
"""Flags of Hydra that the next word belongs to."""

TEXTS = ("data.ids", "classifier.class_names")
"""Settings whose values are texts, or lists of texts."""


PATHS = ("path", "root", "file", "folder", "weights", "boxes")
"""Last parts of settings whose values name files: in `explainer.steps=2` a 2 is a number, though
there may be a folder called 2."""


def quoted(words: Sequence[str]) -> list[str]:
    """A command line for Hydra in which the names of existing files are quoted.

    `data.path=photo (1).jpg` is such a name if there is that file, and so is the folder of a
    pattern. Folders for results are quoted, too. `store=DIR,DIR` is a list, never a sweep. Ids and
    class names are texts: `data.ids=[001,1e3]`. Other values stay as they are.

    Flags come first, because Hydra's parser of flags refuses settings on both sides of one.
    Arguments of a function of the user's, `classifier.network.NAME=VALUE`, are marked as new.
    """
    own = tuple(
        word.lstrip("+").partition("_target_=")[0]
        for word in words
        if re.match(rf"\+*[\w.@]*\b({'|'.join(FUNCTIONS)})\._target_=", word)
    )
    flags: list[str] = []
    settings: list[str] = []
    for i, word in enumerate(words):
        of_flag = i > 0 and words[i - 1] in VALUED_FLAGS
        setting = not of_flag and ("=" in word or word.startswith("~")) and word[0] != "-"
        new = bool(own) and setting and word.startswith(own) and "._target_=" not in word
        (settings if setting else flags).append(f"++{_quoted(word)}" if new else _quoted(word))
    return [*flags, *settings]


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


def exact_quoting(word: str) -> str:
    """A word of the command line as a shell and Hydra read its value as text."""
    key, _, value = word.partition("=")
    return shlex.quote(f"{key}={_string(value)}")


def _quoted(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or not value or word.startswith("-"):
        return word
    if key == "store" and value[0] not in "[{'\"":
        return f"store=[{','.join(_string(folder) for folder in split_folders(value))}]"
    typed = TYPED.fullmatch(value) and key.rpartition(".")[2] in PATHS
    if (typed or not PLAIN.fullmatch(value) or "${" in value) and _exists(value):
        # There is a file of this very name, so nothing in it is to be replaced.
        return f"{key}={_string(value).replace('${', chr(92) + '${')}"
    if value[0] in "{'\"":
        return word
    if value[0] == "[":
        texts = value[1:-1].split(",") if key.lstrip("+") in TEXTS else []
        if texts and value[-1] == "]" and not set("[]{}'\"") & set(value[1:-1]):
            return f"{key}=[{','.join(_string(text.strip()) for text in texts)}]"
        return word
    if key.lstrip("+") in TEXTS:
        return word if "," in value else f"{key}={_string(value)}"
    if key in FOLDERS and not PLAIN.fullmatch(value):
        return f"{key}={_string(value)}"
    return word


def _exists(value: str) -> bool:
    folder = value.partition("*")[0].partition("?")[0].rpartition("/")[0]
    try:
        path = Path(os.path.expanduser(value))  # Path.expanduser raises for ~nobody
        # Of a pattern the folder must be there; commas of a sweep over names are left to Hydra.
        return path.exists() or ("*" in value and bool(folder) and Path(folder).is_dir())
    except (OSError, ValueError):  # too long for a name
        return False


def _string(text: str) -> str:
    """A string of Hydra's grammar; interpolations stay.

    Backslashes count as they are, but not before a quotation mark.
    """
    escaped = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", text)
    last = len(escaped) - len(escaped.rstrip("\\"))
    return f'"{escaped}{last * chr(92)}"'
