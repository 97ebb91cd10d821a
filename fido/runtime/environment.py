"""What a run ran on: versions, commit, device."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "fido",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "timm",
    "numpy",
    "scikit-image",
    "wandb",
)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Versions of Python and packages, git commit of the project, machine, device and threads."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "pid": os.getpid(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with "+changes" if files differ from it; None outside a checkout."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        commit = subprocess.run((*git, "rev-parse", "HEAD"), capture_output=True, text=True)
        changes = subprocess.run(
            (*git, "status", "--porcelain", "-uno"), capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
