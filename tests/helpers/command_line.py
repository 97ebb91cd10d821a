"""The real `explain.py` in a temporary folder, on the planted classifier."""

import os
import sys
from pathlib import Path

import warm_process
from planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]
FAST = [
    *PLANTED,
    "infiller=mean",
    "infiller.colour=[0.2,0.2,0.2]",
    "objective.sparsity=0.02",
    "mask.grid=[10,12]",
    "explainer.samples=4",
]


def command(*overrides):
    sweep = ["-m"] if any("," in o and "[" not in o for o in overrides) else []
    return [sys.executable, str(ROOT / "explain.py"), *sweep, *FAST, *overrides]


def environment():
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA"))}
    return {**clean, "PYTHONPATH": str(ROOT / "tests" / "helpers"), "HOME": "/nonexistent"}


def explain(folder, *overrides, anew=False):
    return warm_process.run(command(*overrides), folder, environment(), anew=anew)


def files(folder):
    """Name to content of what must not depend on the processes; temporary files are hidden."""
    found = [*folder.rglob("[!.]*")]
    kept = [p for p in found if p.is_file() and p.name != "summary.json"]
    # The report says how long the run took.
    kept = [p for p in kept if "report" not in p.relative_to(folder).parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}
