"""One picture of all results of a sweep: a row an image, a column a setting."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from fido.records import Explanation
from fido.report.style import INK, QUIET, as_text, overlay, save_figure, short
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore
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
    columns = {name: _without_target(name) for name in stores}
    if not _tells_stores_apart(stores, columns):
        columns = {name: name for name in stores}
    for name, store in stores.items():
        scores, names = store.scores(), store.class_names()
        for key in keys:  # only these: a sweep may hold more maps than memory
            if key in store:
                explanation = store.load(key)
                caption = _caption(explanation, scores.get(key, {}), names)
                cells[rows[key], columns[name]] = (store.sample(key).image, explanation, caption)
    if not cells:
        return None
    figure = contact_sheet(cells, list(rows.values()), list(dict.fromkeys(columns.values())))
    return save_figure(figure, folder / "contact_sheet.png")


def contact_sheet(
    cells: Mapping[tuple[str, str], tuple[Tensor, Explanation, str]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Figure:
    """A grid of saliency overlays and counterfactual images: a row an image, a column a setting.

    If there is any counterfactual image, the photos stand in a column of their own.

    Args:
        cells: (row, column) to image (3, h, w), explanation and caption; missing cells stay empty.
        rows: Names of the rows.
        columns: Names of the columns.
    """
    side = 2.3
    photos: dict[str, Tensor] = {}
    for (row, _), (image, explanation, _) in cells.items():
        if explanation.counterfactual is not None:
            photos.setdefault(row, image)
    first = 1 if photos else 0
    width = len(columns) + first
    figure = Figure(
        figsize=(side * (width + 0.3), (side + 0.35) * len(rows) + 0.7), layout="constrained"
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(("photo", *columns) if photos else columns):
            axes = figure.add_subplot(len(rows), width, i * width + j + 1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if i == 0:
                axes.set_title(_wrapped(column, COLUMN_WIDTH), fontsize=9, color=INK)
            if j == 0:
                axes.set_ylabel(_wrapped(row, ROW_WIDTH), fontsize=9, color=INK)
            if j < first:
                if row in photos:
                    axes.imshow(photos[row].permute(1, 2, 0).numpy())
            elif (row, column) in cells:
                image, explanation, caption = cells[row, column]
                if explanation.counterfactual is None:
                    overlay(axes, image, explanation)
                else:
                    axes.imshow(explanation.counterfactual.permute(1, 2, 0).numpy())
                axes.set_axis_on()
                axes.set_xlabel(caption, fontsize=8, color=INK)
            else:
                axes.text(0.5, 0.5, "not there", ha="center", va="center", color=QUIET)
    return figure


def _wrapped(name: str, width: int) -> str:
    return "\n".join(textwrap.wrap(as_text(name), width))


def _without_target(name: str) -> str:
    # A class name may have spaces: it ends where the next setting begins.
    return re.sub(r"(^| )target=.*?(?= [\w./@+]+=|$)", "", name).strip()


def _tells_stores_apart(stores: Mapping[str, ResultsStore], columns: Mapping[str, str]) -> bool:
    """Whether runs that differ in their target alone have no result in common."""
    found = [(columns[name], key) for name, store in stores.items() for key in store]
    return len(found) == len(set(found)) and all(columns.values())


def _caption(explanation: Explanation, row: Row, class_names: Sequence[str]) -> str:
    """Of a map the area, and what the class has left with the region alone and without it.

    Of a counterfactual image the probability of its class and the mean absolute change.
    """
    if explanation.counterfactual is not None:
        if row.get("p_counterfactual") is None:
            return ""
        number = explanation.target
        name = short(class_names[number], 18) if class_names else f"class {number}"
        outcome = "" if row.get("flipped") else " (not flipped)"
        probability, change = float(row["p_counterfactual"] or 0), float(row.get("l1") or 0)
        return f"{name} {probability:.2f}{outcome}\nchange {change:.3f}"
    area = f"{float(explanation.region.float().mean()):.0%}"
    if not row.get("p_kept"):
        return area
    return f"{area} kept {float(row['p_kept'] or 0):.2f} removed {float(row['p_removed'] or 0):.2f}"
