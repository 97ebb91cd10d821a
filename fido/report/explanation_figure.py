"""The figure of one explanation, drawn from a store, fit for print."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from torch import Tensor

from fido.masks.regions import tight_box
from fido.records import Explanation, Key, RegionEdit, Sample
from fido.report.about import RunAbout, about_run
from fido.report.counterfactual_figure import counterfactual_figure
from fido.report.counterfactual_film import frames, save_film
from fido.report.lines import fitted
from fido.report.map_scale import map_scale
from fido.report.remarks import remarks
from fido.report.style import (
    ACCENT,
    INK,
    QUIET,
    check_plots,
    draw_boxes,
    draw_contour,
    draw_map,
    draw_photo,
    save_figure,
)
from fido.report.uncertainty_figure import uncertainty_figure
from fido.runs.observer import Result
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore

SIDE = 2.6  # inches of a picture
NAMES = 8  # points of a class name below a picture
BOXES = {"ground truth": "#00c853", "of the region": "#ffab00"}
"""Colour of each kind of box."""


def draw_figures(
    store: ResultsStore,
    keys: Iterable[Key] | None = None,
    dpi: int = 100,
    form: str = "png",
) -> list[Path]:
    """Draw figures of a store's results, from the store alone.

    Counterfactual images get a figure of their own kind, and beside it a GIF of the way there.

    Args:
        store: Where the results are.
        keys: Which results; None draws all.
        dpi: Pixels an inch.
        form: "png", "svg" or "pdf".

    Returns:
        The files.

    Raises:
        ValueError: If `dpi` or `form` is none.
    """
    check_plots(dpi, form)
    names, about = store.class_names(), about_run(store)
    paths = []
    for key in store if keys is None else keys:
        sample, explanation, edit = store.sample(key), store.load(key), store.edit(key)
        path = figure_path(store, key, form)
        if explanation.standard_error is not None:
            sure = uncertainty_figure(sample, explanation)
            paths.append(save_figure(sure, path.with_suffix(f".uncertainty.{form}"), dpi))
        figure = explanation_figure(sample, explanation, edit, names, about)
        film = frames(sample, explanation)
        if film is not None:
            save_film(film, path.with_suffix(".gif"))
        paths.append(save_figure(figure, path, dpi))
    return paths


def figure_path(store: ResultsStore, key: Key, form: str = "png") -> Path:
    """Where the figure of a result belongs."""
    return store.figure_path(key).with_suffix(f".{form}")


class FigureObserver:
    """Draws the figure of every result as soon as it is stored; an observer of a runner.

    Args:
        store: The runner's.
        dpi: Pixels an inch.
        form: "png", "svg" or "pdf".

    Raises:
        ValueError: If `dpi` or `form` is none.
    """

    def __init__(self, store: ResultsStore, dpi: int = 100, form: str = "png") -> None:
        check_plots(dpi, form)
        self.store = store
        self.dpi = dpi
        self.form = form

    def begin(self, done: int, to_do: int) -> None:
        """Draw what an interrupted run has stored and not drawn."""
        left = (k for k in self.store if not figure_path(self.store, k, self.form).is_file())
        draw_figures(self.store, left, self.dpi, self.form)

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        draw_figures(self.store, [result.explanation.key], self.dpi, self.form)

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""


def explanation_figure(
    sample: Sample,
    explanation: Explanation,
    edit: RegionEdit | None,
    class_names: Sequence[str],
    about: RunAbout | None = None,
) -> Figure:
    """Photo, map, the region on the photo, the region alone, its complement, curves.

    Of a counterfactual image, see `counterfactual_figure`.

    Maps of probabilities have a scale from 0 to 1; see `map_scale` for others. Methods without a
    region have photo and map alone. There is a panel of curves only where there are any.

    Args:
        sample: What was explained.
        explanation: The result.
        edit: The image edited by the explanation's region; None leaves these panels out.
        class_names: Name of every class; without any, classes are called by their number.
        about: Of the run, for the line below the pictures.
    """
    names, about = class_names or _Numbers(), about or RunAbout()
    if explanation.counterfactual is not None:
        return counterfactual_figure(sample, explanation, edit, names, about.footer_of(sample))
    name = names[explanation.target]
    regions = about.regions
    edited = [] if edit is None or not regions else [
        ("only the region kept", edit.kept, 1),
        ("the region infilled", edit.removed, 2),
    ]  # fmt: skip
    curves = _has_curves(explanation)
    columns = 2 + regions + len(edited) + curves
    height, width = sample.image.shape[-2:]
    tall = min(2.0, max(0.5, height / width)) * SIDE
    below = _lines_below(edit, explanation.target, names)
    wide = SIDE * columns + 0.9 * curves
    heading = fitted(f"{sample.id}: {name}", wide - 0.2, 12, bold=True)
    notes = ("; ".join(remarks(explanation, edit, about)), about.footer_of(sample))
    footer = "\n".join(fitted(line, wide - 0.2, 8) for line in notes if line)
    around = 0.75 + 0.18 * (1 + heading.count("\n")) + 0.13 * (1 + footer.count("\n"))
    figure = Figure(figsize=(wide, tall + 0.155 * below + around), layout="constrained")
    grid = figure.add_gridspec(
        2,
        columns,
        height_ratios=(tall, 0.155 * below),
        width_ratios=[1] * (columns - curves) + [1.35] * curves,
    )
    axes = figure.add_subplot(grid[0, 0])
    draw_photo(axes, sample.image)
    axes.set_title("photo", fontsize=10, color=INK)
    _map_panel(figure, grid, explanation)
    if regions:
        _region_panel(figure, grid, sample, explanation)
    for column, (title, image, _) in enumerate(edited, start=3):
        axes = figure.add_subplot(grid[0, column])
        draw_photo(axes, image)
        axes.set_title(title, fontsize=10, color=INK)
    if edit is not None:
        for column, row in [(0, 0), *((3 + i, part[2]) for i, part in enumerate(edited))]:
            bars = figure.add_subplot(grid[1, column])
            _class_bars(bars, edit.probabilities[row], explanation.target, names, below)
    if curves:
        _curves(figure.add_subplot(grid[:, columns - 1]), explanation)
    figure.suptitle(heading, fontsize=12, color=INK, fontweight="bold")
    figure.supxlabel(footer, fontsize=8, color=INK)
    return figure


def _map_panel(figure: Figure, grid: GridSpec, explanation: Explanation) -> None:
    scale = map_scale(explanation)
    axes = figure.add_subplot(grid[0, 1])
    drawn = draw_map(axes, explanation, scale)
    axes.set_title("map", fontsize=10, color=INK)
    below = figure.add_subplot(grid[1, 1])
    below.axis("off")
    place = below.inset_axes((0.04, 0.72, 0.92, 0.16))
    bar = figure.colorbar(drawn, cax=place, orientation="horizontal")
    bar.ax.tick_params(labelsize=8, colors=INK)
    low, high = float(explanation.saliency.min()), float(explanation.saliency.max())
    text = "\n".join([fitted(scale.label, SIDE, 7.5), f"values {low:.3g} to {high:.3g}"])
    below.text(0.5, 0.36, text, ha="center", va="top", color=INK, fontsize=7.5)


def _region_panel(figure: Figure, grid: GridSpec, sample: Sample, explanation: Explanation) -> None:
    axes = figure.add_subplot(grid[0, 2])
    draw_photo(axes, sample.image)
    draw_contour(axes, explanation)
    area = float(explanation.region.float().mean())
    title = f"region: {area:.1%} of the photo"
    axes.set_title(title, fontsize=10, color=INK)
    below = figure.add_subplot(grid[1, 2])
    below.axis("off")
    text = f"where the map exceeds {explanation.threshold:.3g}"
    below.text(0.5, 0.98, text, ha="center", va="top", color=INK, fontsize=7.5)
    if sample.boxes is None or not len(sample.boxes):
        return
    draw_boxes(axes, sample.boxes, BOXES["ground truth"], "box: ground truth")
    if explanation.region.any():
        own = tight_box(explanation.region[0]).reshape(1, 4).float()
        draw_boxes(axes, own, BOXES["of the region"], "box: of the region")
    handles, labels = axes.get_legend_handles_labels()
    below.legend(handles, labels, loc="lower center", fontsize=7.5, frameon=False)


def _lines_below(edit: RegionEdit | None, target: int, names: Sequence[str]) -> int:
    """Lines of text that the highest block of bars takes, a bar as one line."""
    if edit is None:
        return 6
    blocks = [
        sum(1 + len(_lines_of(names[i]).split("\n")) for i in _shown(row, target))
        for row in edit.probabilities
    ]
    return max(6, *blocks)


def _lines_of(name: str) -> str:
    return fitted(name, SIDE - 0.1, NAMES, bold=True)


def _shown(probabilities: Tensor, target: int, count: int = 3) -> list[int]:
    """The strongest classes, the target always among them."""
    chosen: list[int] = probabilities.topk(min(count, len(probabilities))).indices.tolist()
    return chosen if target in chosen else [*chosen[: count - 1], target]


def _class_bars(
    axes: Axes, probabilities: Tensor, target: int, names: Sequence[str], lines: int
) -> None:
    """The strongest classes of one image: the name, below it a bar and its number."""
    at = 0
    for index in _shown(probabilities, target):
        text, p = _lines_of(names[index]), float(probabilities[index])
        bold = "bold" if index == target else "normal"
        axes.text(
            0, at, text, va="top", fontsize=NAMES, color=INK, fontweight=bold, linespacing=1.05
        )
        at += len(text.split("\n"))
        shown = p if 0 <= p <= 1 else 0.0
        axes.barh(at + 0.45, shown, height=0.6, color=ACCENT if index == target else QUIET)
        axes.text(shown + 0.02, at + 0.45, f"{p:.3f}", va="center", fontsize=8, color=INK)
        at += 1
    axes.set(xlim=(0, 1.2), ylim=(lines, 0))
    axes.axis("off")


def _has_curves(explanation: Explanation) -> bool:
    return any(len(curve) > 1 for curve in explanation.history.values())


def _curves(axes: Axes, explanation: Explanation) -> None:
    """Curves of the optimisation: loss, score and area."""
    for name, colour, style in (("loss", INK, "-"), ("score", ACCENT, "--")):
        if name in explanation.history:
            curve = explanation.history[name].numpy()
            axes.plot(curve, color=colour, ls=style, lw=1.2, label=name)
    axes.set_xlabel("step", fontsize=8, color=INK)
    axes.set_ylabel("nats", fontsize=8, color=INK)
    axes.tick_params(labelsize=8)
    axes.set_title("optimisation", fontsize=10, color=INK)
    if "area" in explanation.history:
        twin = axes.twinx()
        twin.plot(explanation.history["area"].numpy(), color="#2166ac", lw=1.2, ls=":")
        twin.set_ylim(0, 1)
        twin.tick_params(labelsize=8)
        twin.set_ylabel("expected area, dotted (share of the photo)", color="#2166ac", fontsize=8)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)


class _Numbers(Sequence[str]):
    """Names of classes that nobody has named."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:
        return f"class {index}"
