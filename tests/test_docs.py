"""The commands, paths and pages of the documentation are true."""

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from configurations import CONF, command_config
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]
COMMANDS = ("explain", "evaluate", "train", "report", "compare", "dashboard")
BASH = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)
CODE = re.compile(r"^```(?:python|yaml)\n.*?^```$", re.M | re.S)
INLINE = re.compile(r"`((?:python \w+\.py|fido \w+) [^`]+)`")
OPEN = re.compile(r"^\w+=NAME$|\.\.\.")  # what the reader fills in: explainer=NAME, metrics=[...]
# Instead of the programs: what each is called with, as a line of JSON.
RECORD = """
record() { "$PYTHON" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"; }
for program in python fido; do eval "$program() { record $program \\"\\$@\\"; }"; done
for program in make wandb source pip .venv/bin/python .venv/bin/pre-commit; do
    eval "function $program { :; }"
done
PATH=/nonexistent
set -e
"""
EXAMPLES = {"kept_mean", "gradient_times_image", "gini"}  # tests/test_contributing.py runs these


def shell_lines(script):
    """What a script would run, found by running it with programs that only say so."""
    result = subprocess.run(
        ["bash", "-c", RECORD + script],
        env={"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, f"{script}\n{result.stderr}"
    return [json.loads(line) for line in result.stdout.splitlines()]


def commands_of(page):
    """(command, its overrides) of a page's blocks and of its text."""
    text = page.read_text(encoding="utf-8")
    inline = [shlex.split(line.replace(" ...", "")) for line in INLINE.findall(text)]
    for line in [*shell_lines("".join(BASH.findall(text))), *inline]:
        command = Path(line[1]).stem.replace("train_vae", "train")
        overrides = [arg for arg in line[2:] if not arg.startswith("-") and not OPEN.search(arg)]
        if command == "compare":  # takes folders by themselves, too
            overrides = [arg for arg in overrides if "=" in arg]
        if command in COMMANDS and not EXAMPLES.intersection(re.split(r"\W", " ".join(overrides))):
            yield command, overrides


def jobs(overrides):
    """The overrides of the first and the last job of a sweep, or of the only one."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    kept = [one for one in parsed if not (one.key_or_group or "").startswith("hydra")]
    values = []
    for one in kept:
        if not one.is_sweep_override():
            values.append([one.input_line])
        elif not isinstance(one.value(), IntervalSweep):
            listed = one.sweep_string_iterator()
            values.append([f"{one.get_key_element()}={value}" for value in listed])
    first, last = (tuple(listed[i] for listed in values) for i in (0, -1))
    return {first, last}


@cache
def composed(command, job):
    """The configuration; pages share many commands."""
    return command_config(command, *job)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_composes(page):
    for command, overrides in commands_of(page):
        for job in jobs(overrides):
            composed(command, job)


def test_commands_are_found():
    """A page without commands passes above; these have many."""
    for name, fewest in (("README.md", 7), ("docs/experiments.md", 25), ("docs/results.md", 15)):
        assert len(list(commands_of(ROOT / name))) >= fewest, name


def test_every_option_that_the_docs_name_exists():
    groups = {path.parent.name for path in CONF.rglob("*.yaml")} - {"conf"}
    named = re.compile(rf"(?<![\w.@/])({'|'.join(groups)})=([a-z]\w*)(?=[\s`'\"|,)])")
    for page in PAGES:
        for group, option in named.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            found = [*CONF.rglob(f"{group}/{option}.yaml")]
            assert found or option in EXAMPLES, f"{page.name}: {group}={option}"


@pytest.mark.parametrize(
    ("group", "page"),
    [
        ("explainer", "methods"),
        ("metrics", "metrics"),
        *(
            (group, "options")
            for group in ("infiller", "classifier", "objective", "data", "logger")
        ),
    ],
)
def test_every_option_is_documented(group, page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / f"docs/{page}.md").read_text(), flags=re.M | re.S)
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    assert {path.stem for path in (CONF / group).glob("[!_]*.yaml")} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_the_docs_name_exists(page):
    folders = r"(?:fido|conf|tests|scripts|benchmarks|notebooks|docs)"
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for path in re.findall(rf"(?<![\w/.]){folders}/[\w/.*-]*\w", text):
        if not EXAMPLES.intersection(re.split(r"\W", path)) and "NAME" not in path:
            assert [*ROOT.glob(path)], f"{page.name} names {path}"


def test_every_folder_has_a_page_in_the_reference():
    folders = {path.parent.name for path in (ROOT / "fido").glob("*/__init__.py")}
    pages = {path.stem for path in (ROOT / "docs/reference").glob("*.md")} - {"index", "fido"}
    assert pages == folders
    navigation = (ROOT / "mkdocs.yml").read_text()
    index = (ROOT / "docs/reference/index.md").read_text()
    for name in folders:
        assert f"fido.{name}: reference/{name}.md" in navigation
        assert f"[fido.{name}]({name}.md)" in index


def test_architecture_lists_the_folders_in_the_order_that_is_tested():
    tree = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    names = "\n".join(line[:26] for line in tree.split("conf/ ")[0].splitlines()[2:])
    listed = re.findall(r"(\w+)(?:/|\.py)", names)
    order = re.search(r'ORDER = """(.*?)"""', (ROOT / "tests/test_layers.py").read_text(), re.S)
    assert sorted(listed) == sorted(order[1].split())
    lines = order[1].strip().splitlines()
    rank = {name: i for i, line in enumerate(lines) for name in line.split()}
    assert [rank[name] for name in listed] == sorted(rank[name] for name in listed)


def test_the_ten_places_of_architecture_hold_what_they_are_said_to_hold():
    table = (ROOT / "docs/architecture.md").read_text().split("## Ten things")[1]
    rows = re.findall(r"^\| \d+\. .*\| `([\w.]+)` in `([\w/.]+)` \|$", table, re.M)
    assert len(rows) == 10
    for name, path in rows:
        text = (ROOT / path).read_text()
        for part in name.split("."):
            assert re.search(rf"^\s*(class |def )?{part}\b", text, re.M), f"no {name} in {path}"


def test_the_ruff_of_commits_is_the_ruff_of_the_gate():
    pinned = re.search(r'"ruff==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f"rev: v{pinned[1]}" in (ROOT / ".pre-commit-config.yaml").read_text()
