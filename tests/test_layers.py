"""The house: a module imports only from lower ranks, and siblings share only `base.py`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANKS = [
    {
        "allocator",
        "records",
        "scores",
        "noise",
        "atomic",
        "environment",
        "separable",
        "progress",
        "batching",
        "shards",
        "wandb_key",
    },
    {"kept_pixels", "push_pull", "sample_batch", "superpixels", "weights"},
    {"networks", "blur_pyramid", "smooth_mask"},
    {"classifiers", "mask", "point_mask", "objectives", "infillers", "data", "target"},
    {
        "mask_optimisation",
        "region_edit",
        "perturbation",
        "attribution",
        "feature_maps",
        "feature_encoder",
    },
    {"mask_fit", "training", "measures"},
    {"explainers", "metrics", "store", "plots"},
    {"observer"},
    {"runner", "integrations"},
    {"report", "terminal", "evaluation", "dashboard"},
    {"compose", "sweeps"},
    {"named_stores"},
    {"compose_metrics", "compose_training"},
    {"compose_run"},
    {"compute_ray"},
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


# Folders of alternatives, one of which is chosen: their files share these and nothing else.
SHARED = {
    "classifiers": {"base", "imagenet_names"},
    "data": {"base", "geometry", "photo"},
    "explainers": {"base"},
    "infillers": {"base"},
    "metrics": {"base"},
    "networks": set(),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "fido")))
def test_imports_go_one_way(path):
    top, *inner = path.relative_to(ROOT / "fido").with_suffix("").parts
    if top == "__init__":
        return
    assert top in RANK, f"give {top} a rank in tests/test_layers.py"
    for name in imported(path):
        package, *pieces = name.split(".")
        if package != "fido" or not pieces or pieces[0] not in RANK:
            continue
        if pieces[0] != top:
            assert RANK[pieces[0]] < RANK[top], f"{path} imports {name}"
        elif top in SHARED and len(pieces) > 1:
            allowed = SHARED[top] | set(inner)
            assert pieces[1] in allowed, f"{path} imports its sibling {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "fido")))
def test_hydra_and_wandb_stay_at_the_top(path):
    names = {name.split(".")[0] for name in imported(path)}
    top = path.relative_to(ROOT / "fido").with_suffix("").parts[0]
    if RANK.get(top, 0) < RANK["compose"]:
        assert not names & {"hydra", "omegaconf"}
    if top != "report":
        assert "wandb" not in names


def test_scripts_are_thin():
    for script in ROOT.glob("*.py"):
        code = [line for line in script.read_text().splitlines() if line.strip()]
        assert len(code) <= 55, f"{script.name} has {len(code)} lines: move logic into fido/"
