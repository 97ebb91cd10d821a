"""Names in lines that fit their place."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from fido.runtime.names import printable

PIECE = re.compile(
    r"(?:[^\s_,;=/.:+-]|(?<=[0-9])\.(?=[0-9])|(?<=e)[+-](?=[0-9]))*(?:\s+|[_,;=/.:+-]|$)"
)
"""A word with the blank or separator that ends it; those within numbers end none."""

HINTED = 1.08
"""Letters on a grid of pixels are up to this much wider than their outlines."""


def wrapped(name: str, width: float, measure: Callable[[str], float] = len) -> str:
    """All of a name in lines of at most a width, broken at blanks, else at separators.

    Args:
        name: What is not to be cut.
        width: Of a line: letters, or what `measure` measures.
        measure: Width of a piece of text.
    """
    lines, line = [], ""
    words = re.findall(r"\S+\s*|\s+", name)
    whole = [[word] if measure(word.rstrip()) <= width else PIECE.findall(word) for word in words]
    for piece in (piece for pieces in whole for piece in pieces):
        if line and measure(line + piece.rstrip()) > width:
            lines.append(line)
            line = ""
        line += piece
        while len(line.rstrip()) > 1 and measure(line.rstrip()) > width:
            cut = 1
            while measure(line[: cut + 1]) <= width:
                cut += 1
            lines.append(line[:cut])
            line = line[cut:]
    return "\n".join(part.strip() for part in [*lines, line] if part.strip())


def fitted(name: str, inches: float, size: float, bold: bool = False) -> str:
    """All of a name in lines that a figure has so many inches for.

    Args:
        name: What is not to be cut.
        inches: Of a line.
        size: Of the letters, in points.
        bold: Whether they are bold.
    """
    font = FontProperties(size=size, weight="bold" if bold else "normal")

    def measure(text: str) -> float:
        points = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
        return HINTED * float(points) / 72

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        lines = (wrapped(printable(line), inches, measure) for line in name.split("\n"))
        return "\n".join(lines)
