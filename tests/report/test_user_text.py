"""Names are the users': shown letter by letter, never parsed."""

import io
from dataclasses import replace

import pytest
import torch
from planted import planted_sample

from fido.loggers.terminal import Terminal
from fido.records import Explanation, RegionEdit
from fido.report.explanation_figure import explanation_figure
from fido.report.style import save_figure
from fido.report.tables import counts_table
from fido.runs.observer import Result
from fido.runtime.names import printable

NAMES = [
    "$5_a^b_c$",
    r"$\frac$",
    "cost$1$2",
    "bright [/b]",
    "tumour [benign]",
    "[red]x[/]",
    ":cat:",
    "<script>alert(1)</script>",
    r"\textbf{x} & 100 % _x_ #1 ~ ^",
    "写真 🦊",
    "a\nb\x1b[31m",
    "byte \udcff",
    "{x} {0} %s ${oc.env:HOME}",
]


def result(name):
    sample = replace(planted_sample(), id=name)
    explanation = Explanation(name, 1, torch.rand(1, 40, 48), cost={"forward": 1})
    row = {"id": name, "target_name": name, "status": "failed", "reason": name, "p_original": 0.5}
    edit = RegionEdit(sample.image, sample.image, torch.tensor([[0.2, 0.8]] * 3))
    return Result(sample, explanation, edit, row, 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_shows_names_as_they_are(name):
    terminal, told = Terminal(interactive=False), result(name)
    terminal.console.file = io.StringIO()
    terminal.console.width = 200
    terminal.result(told)
    terminal.skipped(told.row)
    terminal([name], 1, 1, {})
    terminal.close("folder")
    shown = terminal.console.file.getvalue()
    assert shown.count(printable(name)) >= 5
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize("name", NAMES)
def test_figures_draw_names_as_they_are(name, tmp_path):
    told = result(name)
    figure = explanation_figure(told.sample, told.explanation, told.edit, ["dark", name])
    save_figure(figure, tmp_path / "figure.png", dpi=20)
    lines = f"{name}: {name}".split("\n")  # a title may have several
    assert figure._suptitle.get_text() == "\n".join(map(printable, lines))
    assert not figure._suptitle.get_parse_math()


def test_markdown_begins_no_tag_column_or_link():
    table = counts_table({"<script>|[a](b)`*&lt;&": {"explained": 1}})
    assert r"| &lt;script&gt;\|[a\](b)\`\*&amp;lt;& | 1 |" in table
