"""`fido report`: the pictures of runs and sweeps made again from their files."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fido.app.evaluate import given_stores
from fido.report.contact_sheet import draw_contact_sheet
from fido.report.explanation_figure import draw_figures
from fido.runs.sweep import named_stores


def run(cfg: DictConfig) -> None:
    """Draw what belongs to the folders `store` again; no network is asked.

    Every result gets its figure, every folder its contact sheet.

    Raises:
        FileNotFoundError: If a folder holds no explanations.
    """
    given = given_stores(cfg.store)
    folders = list(given.values()) if isinstance(given, dict) else given
    for folder in folders:
        stores, _ = named_stores([folder])
        if cfg.figures:
            drawn = [path for store in stores.values() for path in draw_figures(store)]
            print(f"{folder}: {len(drawn)} figures")
        sheet = draw_contact_sheet(Path(folder).expanduser(), cfg.max_images)
        print(f"contact sheet: {sheet}")
