"""The examples of CONTRIBUTING.md, written into a copy of the project and run there."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm_process
from planted import PLANTED, write_photo

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)^```$", re.M | re.S)
CLEAN = ("WANDB", "HYDRA", "COV", "PYTEST")  # accounts, and how this very run of pytest was called
EXAMPLES = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the files of CONTRIBUTING.md in it."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("fido", "conf", "tests/helpers"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, copy)
    for name, text in EXAMPLES.items():
        path = copy / name
        assert not path.exists(), f"{name} exists already: choose another example"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_photo(copy / "photo.png")
    return copy


def run(project, *line):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
    paths = os.pathsep.join(str(project / name) for name in (".", "tests/helpers"))
    variables = {**clean, "PYTHONPATH": paths}
    return warm_process.run([sys.executable, *line], project, variables, root=project)


def test_there_are_two_files_and_a_test_for_each_kind():
    for kind in ("infiller", "explainer", "metric"):
        folders = sorted(name.split("/")[0] for name in EXAMPLES if kind in name.split("/")[1])
        assert folders == ["conf", "fido", "tests"], kind


def test_their_tests_pass(project):
    files = sorted(name for name in EXAMPLES if name.startswith("tests/"))
    result = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout


def test_their_commands_work(project):
    common = [*PLANTED, "data=folder", "data.path=photo.png", "logger=none"]
    new = ["infiller=kept_mean", "explainer=gradient_times_image", "metrics=[gini]"]
    result = run(project, "explain.py", *common, *new, "hydra.run.dir=run")
    assert result.returncode == 0, result.stderr
    with (project / "run" / "scores.csv").open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["forward"], row["backward"]) == ("1", "1")
    line = ["evaluate.py", "store=run", "metrics=[gini]", "logger=none", "hydra.run.dir=scored"]
    result = run(project, *line)
    assert result.returncode == 0, result.stderr
    assert "Gini index" in (project / "scored" / "tables.md").read_text()


def test_their_code_has_the_project_s_style(project):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff comes with the dev extra")
    files = [name for name in EXAMPLES if name.endswith(".py")]
    for check in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        result = subprocess.run(
            [ruff, *check, *files], cwd=project, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stdout
