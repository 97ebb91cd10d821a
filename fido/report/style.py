"""What figures have in common: colours, the saliency over a photo, saving."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor

from fido.records import Explanation
from fido.report.map_scale import MapScale, map_scale
from fido.runtime.files import atomic_path
from fido.runtime.names import printable

INK, ACCENT, QUIET = "#222222", "#b2182b", "#9aa5b1"
MOST_EDGES = 0.3
"""Edges between pixels of a region, as a share of the pixels, beyond which none is drawn."""
FORMATS = ("png", "svg", "pdf")
"""What figures of explanations are saved as."""


def draw_map(axes: Axes, explanation: Explanation, scale: MapScale, alpha: float = 1) -> AxesImage:
    """Draw a map in the colours of its scale.

    Returns:
        The drawn map, for a colour bar.
    """
    drawn = axes.imshow(
        explanation.saliency[0].numpy(),
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        alpha=alpha,
    )
    axes.set(xticks=[], yticks=[])
    return drawn


def draw_photo(axes: Axes, image: Tensor) -> None:
    """Draw a photo (3, h, w) in [0, 1]."""
    axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])


def draw_contour(axes: Axes, explanation: Explanation) -> None:
    """Draw the edge of the region, black and white so that it is seen on any photo.

    A region that is empty, everything, or scattered over the photo has no edge to be seen.
    """
    region = explanation.region[0].numpy()
    edges = (region[1:] != region[:-1]).sum() + (region[:, 1:] != region[:, :-1]).sum()
    if not 0 < edges < MOST_EDGES * region.size:
        return
    # Seen from outside: regions that touch the border are closed there.
    framed = np.pad(region.astype(float), 1)
    at = [np.arange(-1, side + 1) for side in region.shape]
    for colour, width in (("white", 2.6), ("black", 1.2)):
        axes.contour(at[1], at[0], framed, levels=[0.5], colors=[colour], linewidths=width)
    axes.set(xlim=(-0.5, region.shape[1] - 0.5), ylim=(region.shape[0] - 0.5, -0.5))


def draw_boxes(axes: Axes, boxes: Tensor, colour: str, label: str) -> None:
    """Draw boxes (n, 4) xmin, ymin, xmax, ymax in pixels; the first one has a label."""
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
        line = Rectangle(corner, *size, fill=False, ec=colour, lw=1.6, ls=(0, (4, 2)))
        line.set_label("" if i else label)
        axes.add_patch(line)


def overlay(axes: Axes, image: Tensor, explanation: Explanation, region: bool = True) -> AxesImage:
    """Draw the map over the lightened grey photo, with its region's edge.

    Args:
        axes: Where.
        image: (3, h, w) in [0, 1].
        explanation: The map; its colours are those of `map_scale`.
        region: Whether the region means something.

    Returns:
        The drawn map, for a colour bar.
    """
    grey = 1 - (1 - image.mean(0).numpy()) * 0.8
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
    drawn = draw_map(axes, explanation, map_scale(explanation), 0.6)
    if region:
        draw_contour(axes, explanation)
    return drawn


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a figure atomically, as the suffix says: .png, .svg or .pdf.

    The same figure gives the same bytes: no time of day is noted. What is written in the figure is
    drawn letter by letter, because names are the users': two dollar signs are no formula, control
    characters and bytes that are no text are drawn as their escapes.

    Args:
        figure: The figure.
        path: The file.
        dpi: Pixels an inch of PNG, and of the photos inside the others.

    Raises:
        ValueError: If the suffix is none of these, or dpi is not above 0.
    """
    form = path.suffix.removeprefix(".")
    check_plots(dpi, form)
    FigureCanvasAgg(figure)
    note = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    # Labels of ticks are made while the figure is drawn.
    options: Any = {"svg.hashsalt": "fido", "pdf.fonttype": 42, "text.parse_math": False}
    with atomic_path(path) as temporary, rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
        figure.savefig(temporary, dpi=dpi, format=form, facecolor="white", metadata=note)
    return path


def check_plots(dpi: float, form: str) -> None:
    """Refuse what no figure can be saved as.

    Raises:
        ValueError: Says what can be.
    """
    if form not in FORMATS:
        raise ValueError(f"plots.format must be {', '.join(FORMATS)}, got {form!r}")
    if not isinstance(dpi, int | float) or not 0 < dpi <= 2400:
        raise ValueError(f"plots.dpi must be above 0 and at most 2400, got {dpi!r}")
