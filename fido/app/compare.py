"""`fido compare A B`: the photos on which two runs differ most."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fido.app.evaluate import given_stores
from fido.report.compare import draw_differences
from fido.runs.sweep import named_stores


def run(cfg: DictConfig) -> None:
    """Draw, for each of two runs, the photos on which it is ahead of the other the most.

    Raises:
        FileNotFoundError: If a folder holds no explanations.
        ValueError: If there are not two runs, or they have no photo in common.
    """
    stores, _ = named_stores(given_stores(cfg.store))
    if len(stores) != 2:
        raise ValueError(
            f"two runs are compared, got {len(stores)} ({', '.join(stores) or 'none'}): "
            "fido compare A B, each the folder of one run"
        )
    if not isinstance(cfg.count, int) or cfg.count < 1:
        raise ValueError(f"count must be a whole number from 1, got {cfg.count}")
    (first, a), (second, b) = stores.items()
    paths = draw_differences(Path(cfg.folder), (a, b), (first, second), cfg.count, cfg.dpi)
    for path in paths:
        print(path)
    if not paths:
        print(f"{first} and {second} have the same scores on all photos")
