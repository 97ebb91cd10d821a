"""The house: a module imports only from lower ranks, and siblings share only `base.py`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANKS = [
    {"records", "scores", "noise", "atomic", "environment", "separable"},
    {"networks"},
    {"classifiers", "mask", "objectives", "infillers", "data", "target"},
    {"mask_optimisation", "region_edit"},
    {"explainers", "metrics", "store", "plots"},
    {"runner", "report", "terminal"},
    {"compose", "sweeps"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
MODULES = sorted((ROOT / "fido").rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "fido")))
def test_imports_go_one_way(path):
    parts = path.relative_to(ROOT / "fido").with_suffix("").parts
    if parts == ("__init__",):
        return
    top = parts[0]
    assert top in RANK, f"give {top} a rank in tests/test_layers.py"
    for name in imported(path):
        pieces = name.split(".")
        if pieces[0] != "fido" or len(pieces) < 2 or pieces[1] not in RANK:
            continue
        if pieces[1] == top:
            if len(parts) > 1 and len(pieces) > 2:
                shared = pieces[2] in SHARED.get(top, {"base"})
                assert shared or pieces[2] == parts[1], f"{path} imports its sibling {name}"
            continue
        assert RANK[pieces[1]] < RANK[top] or (pieces[1], top) in ALLOWED, f"{path} imports {name}"


SHARED = {
    "data": {"base", "geometry", "photo"},
    "classifiers": {"base", "imagenet_names"},
    "networks": {"base"},
}
ALLOWED: set[tuple[str, str]] = {("infillers", "infillers")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "fido")))
def test_hydra_and_wandb_stay_at_the_top(path):
    names = {name.split(".")[0] for name in imported(path)}
    top = path.relative_to(ROOT / "fido").parts[0].removesuffix(".py")
    if top not in ("compose", "sweeps"):
        assert not names & {"hydra", "omegaconf"}
    if top != "report":
        assert "wandb" not in names


def test_scripts_are_thin():
    for script in ROOT.glob("*.py"):
        code = [line for line in script.read_text().splitlines() if line.strip()]
        assert len(code) <= 60, f"{script.name} has {len(code)} lines: move logic into fido/"
