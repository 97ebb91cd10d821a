"""File names for any text, and the text back."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

LONGEST = 120
"""Bytes of a name; file systems take 255, and suffixes and temporary names need room."""

_PLAIN = " !#$&'()+,-.;=@[]^_{}"
_SHORTENED = "~"
_USUAL = re.compile(rf"[0-9A-Za-z_-]{{1,{LONGEST}}}", re.ASCII)


def file_name(text: str) -> str:
    """A name that every file system takes, another one for every text.

    Letters, digits and harmless signs stay. Others (separators, wildcards, control characters,
    "%", "~", bytes that are no UTF-8, a dot in front, a dot or blank at the end) become "%XX".
    Names above `LONGEST` bytes are cut, and end with "~" and a hash of the text.
    """
    if _USUAL.fullmatch(text):
        return text
    last = len(text) - 1
    name = "".join(
        char
        if (char.isalnum() or char in _PLAIN) and not (char in ". " and i in (0, last))
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
        for i, char in enumerate(text)
    )
    if text and len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    head = name.encode()[: LONGEST - 17].decode("utf-8", "ignore")
    return f"{head}{_SHORTENED}{digest}"


def text_of(name: str) -> str | None:
    """The text whose `file_name` this is; None where the name was cut."""
    return None if _SHORTENED in name else unquote(name, errors="surrogateescape")


def printable(text: str) -> str:
    r"""Text for a terminal, a log or a picture: what moves a cursor or is no text is escaped.

    Letters of all scripts stay; control characters, line breaks and bytes of file names that are
    no UTF-8 become "\n", "\x1b", "\udcff".
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
