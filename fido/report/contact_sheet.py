"""One picture of all runs of a sweep."""

from __future__ import annotations

from pathlib import Path

from fido.records import Explanation
from fido.report.explanation_figure import contact_sheet, save_figure
from fido.runs.sweep import sweep_stores


def draw_contact_sheet(folder: Path, max_images: int = 12) -> Path | None:
    """Draw the stores below a sweep's folder; None if they hold no explanations."""
    stores = sweep_stores(folder)
    rows = sorted({image_id for store in stores.values() for image_id in store})[:max_images]
    cells = {}
    for column, store in stores.items():
        for image_id in rows:  # only these: a sweep may hold more maps than memory
            if image_id not in store:
                continue
            row = store.row(image_id)
            explanation: Explanation = store.load(image_id)
            caption = (
                f"{float(row['area'] or 0):.0%} kept {float(row['p_kept'] or 0):.2f} "
                f"removed {float(row['p_removed'] or 0):.2f}"
            )
            cells[image_id, column] = (store.sample(image_id).image, explanation, caption)
    if not cells:
        return None
    figure = contact_sheet(cells, rows, list(stores))
    return save_figure(figure, folder / "contact_sheet.png")
