"""`fido list`: every method, infiller, objective, metric and classifier, read from `conf/`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fido.app.help import options_of, read_header

KINDS = {
    "explainers": "explainer",
    "infillers": "infiller",
    "objectives": "objective",
    "metrics": "metrics",
    "classifiers": "classifier",
}
"""What can be listed, and the config group of each."""

COST = "passes an image through the classifier and the infiller, at the defaults"


def print_catalogue(words: Sequence[str]) -> None:
    """Print one kind, or all.

    Raises:
        ValueError: If a word names no kind.
    """
    asked = [kind for word in words for kind in KINDS if word in (kind, KINDS[kind])]
    if len(asked) < len(words):
        raise ValueError(f"fido list {' '.join(words)}: give one or more of {', '.join(KINDS)}")
    console = Console(width=None if Console().is_terminal else 160, soft_wrap=False)
    for kind in asked or KINDS:
        console.print(table_of(kind))
    console.print(f"cost: {COST}. Settings of each: fido explain GROUP=NAME --help")


def table_of(kind: str) -> Table:
    """A line an option: what it is, where it comes from, what it costs, which weights it needs."""
    group = KINDS[kind]
    headers = {name: read_header(path) for name, path in options_of("explain", group).items()}
    columns = [
        fact
        for fact in ("source", "cost", "weights")
        if any(fact in h.facts for h in headers.values())
    ]
    table = Table(f"{group}=", "", *columns, title=kind, title_justify="left", title_style="bold")
    for name, header in headers.items():
        cells = [name, header.first, *(header.facts.get(fact, "") for fact in columns)]
        table.add_row(*map(Text, cells))
    return table
