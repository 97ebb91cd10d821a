"""Figures of one explanation and of a sweep; drawn without global state, saved atomically."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.image import AxesImage
from torch import Tensor

from fido.records import Explanation, Sample
from fido.runs.region_edit import RegionEdit
from fido.runtime.files import atomic_path

INK, ACCENT, QUIET = "#222222", "#b2182b", "#9aa5b1"


def explanation_figure(
    sample: Sample, explanation: Explanation, edit: RegionEdit, class_names: Sequence[str]
) -> Figure:
    """Photo, saliency, the region alone and its complement, class probabilities, curves."""
    name = class_names[explanation.target]
    figure = Figure(figsize=(17, 5.1), layout="constrained")
    grid = figure.add_gridspec(2, 5, height_ratios=(3.4, 0.9), width_ratios=(1, 1, 1, 1, 1.2))
    original, kept, removed = edit.probabilities[:, explanation.target].tolist()
    pictures = (
        (0, "photo", original, sample.image, 0),
        (2, "only the region kept", kept, edit.kept, 1),
        (3, "the region removed", removed, edit.removed, 2),
    )
    for column, title, probability, image, row in pictures:
        axes = figure.add_subplot(grid[0, column])
        _picture(axes, image)
        axes.set_title(f"{title}\n{_short(name)} {probability:.3f}", color=INK)
        _class_bars(
            figure.add_subplot(grid[1, column]),
            edit.probabilities[row],
            explanation.target,
            class_names,
        )
    axes = figure.add_subplot(grid[0, 1])
    drawn = overlay(axes, sample.image, explanation)
    share = float(explanation.region.float().mean())
    axes.set_title(f"saliency\nregion {share:.1%} of the image", color=INK)
    below = figure.add_subplot(grid[1, 1])
    below.axis("off")
    figure.colorbar(drawn, cax=below.inset_axes((0.05, 0.62, 0.9, 0.2)), orientation="horizontal")
    low, high = float(explanation.saliency.min()), float(explanation.saliency.max())
    below.text(0.5, 0.0, f"raw range {low:.3g} to {high:.3g}", ha="center", color=INK, fontsize=9)
    if explanation.history:
        _curves(figure, grid[:, 4], explanation)
    figure.suptitle(f"{sample.id}: {name}", color=INK, fontweight="bold")
    return figure


def contact_sheet(
    cells: dict[tuple[str, str], tuple[Tensor, Explanation, str]],
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
                axes.set_title("\n".join(textwrap.wrap(column, 26)), fontsize=9, color=INK)
            if j == 0:
                axes.set_ylabel("\n".join(textwrap.wrap(row, 22)), fontsize=9, color=INK)
            if (row, column) in cells:
                image, explanation, caption = cells[row, column]
                overlay(axes, image, explanation)
                axes.set_axis_on()
                axes.set_xlabel(caption, fontsize=8, color=INK)
            else:
                axes.text(0.5, 0.5, "not there", ha="center", va="center", color=QUIET)
    return figure


def overlay(axes: Axes, image: Tensor, explanation: Explanation) -> AxesImage:
    """Draw the saliency over the lightened grey photo, red above the threshold and blue below.

    Returns:
        The drawn map, for a colour bar.
    """
    saliency = explanation.saliency[0].numpy()
    finite = saliency[np.isfinite(saliency)]
    reach = max(float(np.abs(finite - explanation.threshold).max(initial=0.0)), 1e-6)
    norm = TwoSlopeNorm(
        explanation.threshold, explanation.threshold - reach, explanation.threshold + reach
    )
    grey = 1 - (1 - image.mean(0).numpy()) * 0.7
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
    drawn = axes.imshow(saliency, cmap="seismic", norm=norm, alpha=0.5)
    region = explanation.region[0].numpy()
    if region.any() and not region.all():
        axes.contour(region, levels=[0.5], colors=[INK], linewidths=0.7)
    axes.set(xticks=[], yticks=[])
    return drawn


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a PNG atomically."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png", facecolor="white")
    return path


def _picture(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])


def _class_bars(
    axes: Axes, probabilities: Tensor, target: int, class_names: Sequence[str], count: int = 3
) -> None:
    """The strongest classes of one image as horizontal bars, the target in red."""
    top = probabilities.topk(min(count, len(class_names)))
    indices = top.indices.tolist()
    axes.barh(
        range(len(indices)),
        top.values.tolist(),
        color=[ACCENT if index == target else QUIET for index in indices],
        height=0.8,
    )
    for position, index in enumerate(indices):
        label = f"{_short(class_names[index])} {float(probabilities[index]):.2f}"
        axes.text(0.02, position, label, va="center", fontsize=8.5, color=INK)
    axes.set(xlim=(0, 1), yticks=[], xticks=[])
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def _curves(figure: Figure, place: SubplotSpec, explanation: Explanation) -> None:
    axes = figure.add_subplot(place)
    styles = {"loss": (INK, "-"), "score": (ACCENT, "-")}
    for name, (colour, line) in styles.items():
        if name in explanation.history:
            axes.plot(explanation.history[name].numpy(), color=colour, ls=line, lw=1.2, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("nats")
    axes.set_title("optimisation", color=INK)
    if "area" in explanation.history:
        twin = axes.twinx()
        twin.plot(explanation.history["area"].numpy(), color="#2166ac", lw=1.2)
        twin.set_ylim(0, 1)
        twin.set_ylabel("expected area (share of the image)", color="#2166ac")
    axes.legend(frameon=False, fontsize=8)


def _short(name: str, width: int = 24) -> str:
    return textwrap.shorten(name, width, placeholder="…")
