"""The house: a folder imports only from the folders above it in ORDER, never upward."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIDO = ROOT / "fido"
ORDER = """
    records scores
    runtime
    networks weights
    classifiers data masks
    infillers diffusion
    training explainers metrics
    runs
    evaluation integrations
    report
    loggers
    app
"""
RANK = {name: i for i, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
MODULES = sorted(path for path in FIDO.rglob("*.py") if path != FIDO / "__init__.py")

# Folders of alternatives, one of which is chosen: their files share these and nothing else.
SHARED = {
    "classifiers": {
        "base",
        "imagenet_names",
        "encoder",
        "features",
        "layers",
        "inputs",
        "outputs",
        "state",
    },
    "data": {
        "base",
        "geometry",
        "photo",
        "depth",
        "deep_colour",
        "formats",
        "listing",
        "classes",
        "tables",
    },
    "explainers": {"base", "attribution", "counterfactual", "mask_optimisation"},
    "infillers": {"base", "filters", "resolution", "blur_pyramid", "perturbed_image"},
    "metrics": {"base", "functional", "score_set", "subjects"},
    "networks": {"push_pull", "vae_layers"},
}


def room(path):
    """The folder or loose module of `fido/` that a file belongs to."""
    return path.relative_to(FIDO).with_suffix("").parts[0]


@cache
def imported(path):
    """Dotted names that a file imports, names of imported objects included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def arrows():
    """(folder, folder it imports from) for all pairs of different ones."""
    pairs = ((room(path), name.split(".")) for path in MODULES for name in imported(path))
    return {(a, n[1]) for a, n in pairs if n[0] == "fido" and len(n) > 1 and n[1] != a}


def test_every_arrow_between_folders_points_down(capsys):
    unknown = {room(path) for path in MODULES} - set(RANK)
    assert not unknown, f"give {unknown} a line in ORDER"
    upward = sorted(f"{a} -> {b}" for a, b in arrows() if RANK[b] >= RANK[a])
    with capsys.disabled():
        print(f" rooms {len(RANK)}, arrows {len(arrows())}, upward {len(upward)} ", end="")
    assert not upward


@pytest.mark.parametrize("folder", SHARED)
def test_alternatives_share_only_their_base(folder):
    for path in sorted((FIDO / folder).rglob("*.py")):
        inner = path.relative_to(FIDO / folder).with_suffix("").parts
        siblings = [n.split(".")[2] for n in imported(path) if n.startswith(f"fido.{folder}.")]
        wrong = set(siblings) - SHARED[folder] - set(inner)
        assert not wrong, f"{path} imports its siblings {wrong}"


def test_hydra_stays_in_app_and_wandb_in_loggers():
    for path in MODULES:
        packages = {name.split(".")[0] for name in imported(path)}
        if room(path) != "app":
            assert not packages & {"hydra", "omegaconf"}, path
        if room(path) != "loggers":
            assert "wandb" not in packages, path


def test_at_most_three_loose_modules():
    assert len([*FIDO.glob("*.py")]) <= 4, "the nouns, the scores and one more beside __init__"


def test_scripts_are_thin():
    for script in ROOT.glob("*.py"):
        code = [line for line in script.read_text().splitlines() if line.strip()]
        assert len(code) <= 40, f"{script.name} has {len(code)} lines: move logic into fido/"
