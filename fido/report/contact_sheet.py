"""One picture of all results of a sweep: a row an image, a column a setting."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from fido.records import Explanation
from fido.report.style import INK, QUIET, overlay, save_figure
from fido.runs.result_file import Row
from fido.runs.sweep import sweep_stores

COLUMN_WIDTH, ROW_WIDTH = 26, 22  # letters


def draw_contact_sheet(folder: Path, max_images: int = 12) -> Path | None:
    """Draw `contact_sheet.png` of the stores below a sweep's folder.

    Args:
        folder: Of the sweep.
        max_images: Rows drawn at the most.

    Returns:
        The file; None if the stores hold no explanations.
    """
    stores = sweep_stores(folder)
    keys = sorted({key for store in stores.values() for key in store})[:max_images]
    often = Counter(key.image_id for key in keys)
    rows = {key: key.image_id if often[key.image_id] == 1 else str(key) for key in keys}
    cells = {}
    for column, store in stores.items():
        scores = store.scores()
        for key in keys:  # only these: a sweep may hold more maps than memory
            if key in store:
                explanation = store.load(key)
                caption = _caption(explanation, scores.get(key, {}))
                cells[rows[key], column] = (store.sample(key).image, explanation, caption)
    if not cells:
        return None
    figure = contact_sheet(cells, list(rows.values()), list(stores))
    return save_figure(figure, folder / "contact_sheet.png")


def contact_sheet(
    cells: Mapping[tuple[str, str], tuple[Tensor, Explanation, str]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Figure:
    """A grid of saliency overlays: a row an image, a column a setting.

    Args:
        cells: (row, column) to image (3, h, w), explanation and caption; missing cells stay empty.
        rows: Names of the rows.
        columns: Names of the columns.
    """
    side = 2.3
    figure = Figure(
        figsize=(side * (len(columns) + 0.3), (side + 0.35) * len(rows) + 0.7), layout="constrained"
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            axes = figure.add_subplot(len(rows), len(columns), i * len(columns) + j + 1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if i == 0:
                axes.set_title(_wrapped(column, COLUMN_WIDTH), fontsize=9, color=INK)
            if j == 0:
                axes.set_ylabel(_wrapped(row, ROW_WIDTH), fontsize=9, color=INK)
            if (row, column) in cells:
                image, explanation, caption = cells[row, column]
                overlay(axes, image, explanation)
                axes.set_axis_on()
                axes.set_xlabel(caption, fontsize=8, color=INK)
            else:
                axes.text(0.5, 0.5, "not there", ha="center", va="center", color=QUIET)
    return figure


def _wrapped(name: str, width: int) -> str:
    return "\n".join(textwrap.wrap(name, width))


def _caption(explanation: Explanation, row: Row) -> str:
    """Area of the region, and what the class has left with it alone and without it."""
    area = f"{float(explanation.region.float().mean()):.0%}"
    if not row.get("p_kept"):
        return area
    return f"{area} kept {float(row['p_kept'] or 0):.2f} removed {float(row['p_removed'] or 0):.2f}"
