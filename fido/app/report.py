"""`fido report`: pictures and tables of stores made again, without a network."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fido.app.evaluate import given_stores
from fido.report.contact_sheet import draw_contact_sheet


def run(cfg: DictConfig) -> None:
    """Draw what belongs to the folders `store` again, from the files of their stores alone.

    Raises:
        ValueError: If `store` gives names to folders.
        FileNotFoundError: If a folder holds no explanations.
    """
    folders = given_stores(cfg.store)
    if isinstance(folders, dict):
        raise ValueError("give folders without names: store=DIR or store=DIR,DIR")
    for folder in map(Path, folders):
        drawn = draw_contact_sheet(folder, cfg.max_images)
        if drawn is None:
            raise FileNotFoundError(f"store={folder}: no explanations in this folder")
        print(f"contact sheet: {drawn}")
