"""`fido COMMAND --help`, read from the comments of `conf/`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml  # type: ignore[import-untyped]

from fido.app.folders import conf_folder

SETTING = re.compile(r"^(?P<name>\w+):(?P<value>.*?)(?:\s+#\s(?P<meaning>.*))?$")
SENTENCE = re.compile(r"(?<=[^.]\.)\s+(?=[A-Z])")
WIDTH = 24  # characters of a name
HEADER_KEYS = ("source", "cost", "weights")
"""Lines `# key: value` in the header of an option, for `fido list`."""


class Setting(NamedTuple):
    """A top-level line of a configuration."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Header:
    """The comment that a configuration begins with.

    Attributes:
        first: Its first sentence: one line of meaning.
        examples: Its indented lines.
        facts: Its lines `# key: value` whose key is one of `HEADER_KEYS`.
    """

    first: str
    examples: list[str]
    facts: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a configuration; hints for Hydra (`# @package`) are left out."""
    words, examples, facts = [], [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").removeprefix(" ")
        key, colon, value = text.partition(": ")
        if colon and key in HEADER_KEYS:
            facts[key] = value
        elif text.startswith("  "):
            examples.append(text.strip())
        elif not text.startswith("@package"):
            words.append(text)
    return Header(SENTENCE.split(" ".join(words), maxsplit=1)[0], examples, facts)


def first_comment(path: Path) -> str:
    """One line of meaning."""
    return read_header(path).first


def read_settings(path: Path) -> list[Setting]:
    """The top-level settings of a configuration with the comments behind them."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = SETTING.match(line)
        if match and match["name"] not in ("defaults", "hydra"):
            found.append(Setting(match["name"], match["value"].strip(), match["meaning"] or ""))
    return found


def groups_of(command: str) -> dict[str, str]:
    """The config groups of a command and the options that they have by default.

    Where options bring groups themselves, as the models of a training do, these come last.
    """
    found = _groups_in(conf_folder() / f"{command}.yaml")
    for group in [*found]:
        if (conf_folder() / command / group).is_dir():
            for path in options_of(command, group).values():
                found |= {k: v for k, v in _groups_in(path).items() if k not in found}
    return found


def options_of(command: str, group: str) -> dict[str, Path]:
    """The options of a group by name."""
    paths = [
        path
        for folder in (conf_folder() / group, conf_folder() / command / group)
        for path in folder.glob("[!_]*.yaml")
    ]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def command_help(command: str, called: str, words: Sequence[str] = ()) -> str:
    """What `--help` prints.

    Args:
        command: The command.
        called: How the user called it: `fido explain` or `python explain.py`.
        words: The command line; of every option that it chooses the settings are shown.
    """
    header = read_header(conf_folder() / f"{command}.yaml")
    examples = [example.replace(f"fido {command}", called) for example in header.examples]
    lines = [header.first, "", "examples:", *(f"  {example}" for example in examples), ""]
    lines += ["settings (SETTING=VALUE):"]
    lines += [
        _line(setting.name, setting.meaning, setting.value)
        for setting in read_settings(conf_folder() / f"{command}.yaml")
        if setting.meaning
    ]
    groups = groups_of(command)
    for group, default in groups.items():
        lines += ["", f"{group}=OPTION{f' (default {default})' if default else ''}"]
        lines += [
            _line(name, first_comment(path)) for name, path in options_of(command, group).items()
        ]
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    for group, option in chosen.items():
        path = options_of(command, group).get(option) if group in groups else None
        if path is not None:
            lines += ["", f"settings of {group}={option}:"]
            lines += [
                _line(f"{group}.{setting.name}", setting.meaning, setting.value)
                for setting in read_settings(path)
                if setting.value != "???"
            ]
    lines += [
        "",
        f"The settings of an option: {called} GROUP=OPTION --help. All of them with their values: "
        f"{called} --cfg job.",
        "Options of yours: a folder like conf/, given as --config-dir DIR. Hydra's own flags: "
        f"{called} --hydra-help.",
    ]
    return "\n".join(lines)


def _groups_in(path: Path) -> dict[str, str]:
    """The groups that a defaults list names, with the options that it chooses."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found = {}
    for entry in content.get("defaults", []):
        for key, option in entry.items() if isinstance(entry, dict) else ():
            group = key.removeprefix("/")
            # Overrides repeat a group, and `group@package` is one inside of an option.
            if not group.startswith("override ") and "@" not in group:
                found[group] = ", ".join(option) if isinstance(option, list) else option or ""
    return found


def _line(name: str, meaning: str, value: str = "") -> str:
    shown = f"{name}={value}" if value and "${" not in value else name
    space = " " * max(2, WIDTH - len(shown))
    return f"  {shown}{space}{meaning}".rstrip()
