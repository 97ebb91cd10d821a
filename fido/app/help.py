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
PACKAGE = re.compile(r"# @package (?P<name>\S+)")
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


def groups_of(command: str) -> dict[str, str | list[str]]:
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
    root = conf_folder() / f"{command}.yaml"
    header = read_header(root)
    examples = [example.replace(f"fido {command}", called) for example in header.examples]
    lines = [header.first, "", "examples:", *(f"  {example}" for example in examples)]
    lines += ["", "settings (SETTING=VALUE):", *_settings(root, "")]
    for group, default in groups_of(command).items():
        options = options_of(command, group)
        shown = ", ".join(default) if isinstance(default, list) else default
        choice = "[OPTION,...]" if isinstance(default, list) else "OPTION"
        lines += ["", f"{group}={choice}{f' (default {shown})' if shown else ''}"]
        lines += [_line(name, first_comment(path)) for name, path in options.items()]
        for option in _chosen(group, words):
            if option in options:
                package = PACKAGE.match(options[option].read_text(encoding="utf-8"))
                prefix = package["name"] if package else group
                inside = _settings(options[option], "" if prefix == "_global_" else f"{prefix}.")
                lines += ["", f"settings of {group}={option}:", *inside]
    return "\n".join(
        [
            *lines,
            "",
            f"Settings of an option: {called} GROUP=OPTION --help; all: {called} --cfg job.",
            "Options of your own: --config-dir DIR, a folder like conf/. Hydra's: --hydra-help.",
        ]
    )


def _chosen(group: str, words: Sequence[str]) -> list[str]:
    """The options of a group that a command line names."""
    return [
        option
        for word in words
        if word.startswith(f"{group}=")
        for option in word.removeprefix(f"{group}=").strip("[]").split(",")
    ]


def _settings(path: Path, prefix: str) -> list[str]:
    """A line a setting, but for what the run itself fills in and for sections without a comment."""
    return [
        _line(prefix + setting.name, setting.meaning, setting.value)
        for setting in read_settings(path)
        if setting.value or setting.meaning
        if not (setting.name.startswith("_") or setting.meaning.startswith("the run's"))
    ]


def _groups_in(path: Path) -> dict[str, str | list[str]]:
    """The groups that a defaults list names, with the options that it chooses."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found: dict[str, str | list[str]] = {}
    for entry in content.get("defaults", []):
        for key, option in entry.items() if isinstance(entry, dict) else ():
            group = key.removeprefix("/")
            # Overrides repeat a group, and `group@package` is one inside of an option.
            if not group.startswith("override ") and "@" not in group:
                found[group] = "" if option is None else option
    return found


def _line(name: str, meaning: str, value: str = "") -> str:
    shown = f"{name}={value}" if value and "${" not in value and value != "???" else name
    space = " " * max(2, WIDTH - len(shown))
    return f"  {shown}{space}{meaning}".rstrip()
