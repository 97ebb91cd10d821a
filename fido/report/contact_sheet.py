"""One picture of all results of a sweep: a row an image, a column a setting."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from fido.records import Explanation
from fido.report.about import about_run
from fido.report.lines import fitted
from fido.report.map_scale import COLOURS, map_scale
from fido.report.style import INK, QUIET, draw_boxes, draw_photo, overlay, save_figure
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore
from fido.runs.sweep import sweep_stores

SIDE = 2.2  # inches of a picture
CAPTION = (
    "area of its region; p(class) with only the region kept; p(class) with the region infilled"
)


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of the sheet.

    Attributes:
        image: (3, h, w), the photo.
        explanation: The map.
        caption: Below the picture.
        region: Whether the method's region means something.
        boxes: (n, 4) of the ground truth, where known.
    """

    image: Tensor
    explanation: Explanation
    caption: str
    region: bool = True
    boxes: Tensor | None = None


def draw_contact_sheet(folder: Path, max_images: int = 12, dpi: int = 100) -> Path | None:
    """Draw `contact_sheet.png` of the stores below a sweep's folder.

    Args:
        folder: Of the sweep.
        max_images: Rows drawn at the most.
        dpi: Pixels an inch.

    Returns:
        The file; None if the stores hold no explanations.
    """
    stores = sweep_stores(folder)
    keys = sorted({key for store in stores.values() for key in store})[:max_images]
    often = Counter(key.image_id for key in keys)
    rows = {key: key.image_id if often[key.image_id] == 1 else str(key) for key in keys}
    names = dict(rows)
    cells = {}
    columns = _columns(stores)
    for setting, store in stores.items():
        scores, about, classes = store.scores(), about_run(store), store.class_names()
        for key in keys:  # only these: a sweep may hold more maps than memory
            if key not in store:
                continue
            explanation, sample = store.load(key), store.sample(key)
            row = scores.get(key, {})
            cells[rows[key], columns[setting]] = Cell(
                sample.image, explanation, _caption(explanation, row, about.regions),
                about.regions, sample.boxes,
            )  # fmt: skip
            name = classes[key.target] if key.target < len(classes) else f"class {key.target}"
            p = f" {float(row['p_original'] or 0):.2f}" if row.get("p_original") else ""
            names[key] = f"{rows[key]}\n{name}{p}"
    if not cells:
        return None
    figure = contact_sheet(
        cells, {rows[key]: names[key] for key in keys}, [*dict.fromkeys(columns.values())]
    )
    return save_figure(figure, folder / "contact_sheet.png", dpi)


def contact_sheet(
    cells: Mapping[tuple[str, str], Cell],
    rows: Mapping[str, str],
    columns: Sequence[str],
    meaning: str = CAPTION,
) -> Figure:
    """A grid of saliency overlays: a row an image, first the photo, then a column a setting.

    Of counterfactuals the image is drawn, not the map.

    Args:
        cells: (row, column) to what is drawn; missing cells stay empty.
        rows: Row to what stands beside it.
        columns: Names of the columns.
        meaning: What the captions say.
    """
    count = len(columns) + 1
    titles = [fitted(name, SIDE - 0.2, 8.5) for name in ("photo", *columns)]
    above = 0.16 * max(title.count("\n") + 1 for title in titles)
    shapes = [cell.image.shape[-2:] for cell in cells.values()]
    tall = SIDE * min(2.0, max(0.5, *(height / width for height, width in shapes)))
    size = (SIDE * (count + 0.2), (tall + 0.5) * len(rows) + above + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), count, squeeze=False)
    for i, row in enumerate(rows):
        given = [cells.get((row, column)) for column in columns]
        first = next((cell for cell in given if cell is not None), None)
        for j, (axes, cell) in enumerate(zip(panels[i], [first, *given], strict=True)):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if i == 0:
                axes.set_title(titles[j], fontsize=8.5, color=INK)
            if j == 0:
                lines = [fitted(line, tall, 8.5) for line in rows[row].split("\n")]
                axes.set_ylabel("\n".join(lines), fontsize=8.5, color=INK)
            if cell is None:
                axes.text(0.5, 0.5, "not there", ha="center", va="center", color=QUIET)
            elif j == 0:
                draw_photo(axes, cell.image)
            else:
                if cell.explanation.counterfactual is None:
                    overlay(axes, cell.image, cell.explanation, cell.region)
                else:
                    draw_photo(axes, cell.explanation.counterfactual / 255)
                axes.set_xlabel(cell.caption, fontsize=7.5, color=INK)
            if cell is not None and cell.boxes is not None:
                draw_boxes(axes, cell.boxes, "#00c853", "")
    maps = [cell for cell in cells.values() if cell.explanation.counterfactual is None]
    if maps:
        _scale_bar(figure, list(panels.flat), maps, meaning)
    else:
        figure.supxlabel("below each: probability of its class; mean change of a value in 0 to 1")
    return figure


def _columns(stores: Mapping[str, ResultsStore]) -> dict[str, str]:
    """Setting to column: runs that differ in their target alone share one, the row says it."""
    # A class name may have spaces: it ends where the next setting begins.
    short = {name: re.sub(r"(^| )target=.*?(?= [\w./@+]+=|$)", "", name).strip() for name in stores}
    found = [(short[name], key) for name, store in stores.items() for key in store]
    apart = len(found) == len(set(found)) and all(short.values())
    return short if apart else {name: name for name in stores}


def _scale_bar(figure: Figure, panels: Sequence[Axes], cells: Sequence[Cell], meaning: str) -> None:
    """One bar for all maps, with what their captions mean."""
    scales = {map_scale(cell.explanation) for cell in cells}
    kinds = {scale.kind for scale in scales}
    kind = "signed" if kinds == {"signed"} else "positive"
    shared = len(scales) == 1
    (low, high) = (next(iter(scales)).low, next(iter(scales)).high) if shared else (0.0, 1.0)
    bar = figure.colorbar(
        ScalarMappable(Normalize(low, high), COLOURS[kind]),
        ax=panels,
        orientation="horizontal",
        fraction=0.1 / figure.get_figheight(),
        pad=0.15 / figure.get_figheight(),
        aspect=60,
    )
    if not shared:
        bar.set_ticks([0, 1], labels=["lowest", "highest"])
    text = next(iter(scales)).label if shared else "each map on its own scale, probabilities 0 to 1"
    notes = [text]
    if any(cell.caption for cell in cells):
        notes.append(f"below each map: {meaning}")
    if any(cell.boxes is not None for cell in cells):
        notes.append("dashed: ground truth")
    wide = figure.get_figwidth() - 0.2
    bar.set_label("\n".join(fitted(note, wide, 8) for note in notes), fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8)


def _caption(explanation: Explanation, row: Row, region: bool) -> str:
    """Of a map the area, and what the class has left with the region alone and without it.

    Of a counterfactual image the probability of its class and the mean absolute change.
    """
    if explanation.counterfactual is not None:
        if row.get("p_counterfactual") is None:
            return ""
        outcome = "" if float(row.get("flipped") or 0) else ", not flipped"
        probability, change = float(row["p_counterfactual"] or 0), float(row.get("l1") or 0)
        return f"p {probability:.2f}{outcome}, change {change:.3f}"
    if not region:
        return "no region"
    area = f"area {float(explanation.region.float().mean()):.0%}"
    if not row.get("p_kept"):
        return area
    return (
        f"{area}, kept {float(row['p_kept'] or 0):.2f}, without {float(row['p_removed'] or 0):.2f}"
    )
