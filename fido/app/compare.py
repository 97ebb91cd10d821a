"""`fido compare A B`: the photos on which two runs differ most."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fido.app.evaluate import given_stores
from fido.report.about import about_run
from fido.report.compare import differences, draw_differences
from fido.runs.sweep import named_stores
from fido.runtime.names import printable


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
    found = differences(a, b)
    leads = [one.lead for one in found]
    ahead = {first: sum(lead > 0 for lead in leads), second: sum(lead < 0 for lead in leads)}
    print(
        f"{len(found)} results of the same photo and class; score: p(class) with only the region "
        "kept minus p(class) with it infilled"
    )
    for (name, count), store in zip(ahead.items(), (a, b), strict=True):
        print(printable(f"{name} is ahead on {count}"))
        if not about_run(store).regions:
            print("  its maps have no region: scored are the pixels above half of the maximum")
    for path in draw_differences(
        Path(cfg.folder), (a, b), (first, second), cfg.count, cfg.dpi, found
    ):
        print(f"picture: {path}")
