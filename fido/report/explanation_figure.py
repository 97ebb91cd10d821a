"""The figure of one explanation, drawn from a store."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from torch import Tensor

from fido.records import Explanation, Key, RegionEdit, Sample
from fido.report.style import ACCENT, INK, QUIET, overlay, save_figure
from fido.runs.observer import Result
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore


def draw_figures(store: ResultsStore, keys: Iterable[Key] | None = None) -> list[Path]:
    """Draw figures of a store's results, from the store alone.

    Args:
        store: Where the results are.
        keys: Which results; None draws all.

    Returns:
        The PNG files.
    """
    names = store.class_names()
    paths = []
    for key in store if keys is None else keys:
        figure = explanation_figure(store.sample(key), store.load(key), store.edit(key), names)
        paths.append(save_figure(figure, store.figure_path(key)))
    return paths


class FigureObserver:
    """Draws the figure of every result as soon as it is stored; an observer of a runner.

    Args:
        store: The runner's.
    """

    def __init__(self, store: ResultsStore) -> None:
        self.store = store

    def begin(self, done: int, to_do: int) -> None:
        """Draw what an interrupted run has stored and not drawn."""
        draw_figures(
            self.store, (key for key in self.store if not self.store.figure_path(key).is_file())
        )

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        draw_figures(self.store, [result.explanation.key])

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""


def explanation_figure(
    sample: Sample,
    explanation: Explanation,
    edit: RegionEdit | None,
    class_names: Sequence[str],
) -> Figure:
    """Photo, saliency, the region alone and its complement, class probabilities, curves.

    Args:
        sample: What was explained.
        explanation: The result.
        edit: The image edited by the explanation's region; None leaves these panels out.
        class_names: Name of every class; without any, classes are called by their number.
    """
    names = class_names or _Numbers()
    name = names[explanation.target]
    figure = Figure(figsize=(17, 5.1), layout="constrained")
    grid = figure.add_gridspec(2, 5, height_ratios=(3.4, 0.9), width_ratios=(1, 1, 1, 1, 1.2))
    pictures = [(0, "photo", sample.image)]
    if edit is not None:
        pictures += [
            (2, "only the region kept", edit.kept),
            (3, "the region removed", edit.removed),
        ]
    for row, (column, title, image) in enumerate(pictures):
        axes = figure.add_subplot(grid[0, column])
        _picture(axes, image)
        if edit is None:
            axes.set_title(title, color=INK)
            continue
        probabilities = edit.probabilities[row]
        probability = float(probabilities[explanation.target])
        axes.set_title(f"{title}\n{_short(name)} {probability:.3f}", color=INK)
        below = figure.add_subplot(grid[1, column])
        _class_bars(below, probabilities, explanation.target, names)
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


def _picture(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])


def _class_bars(
    axes: Axes, probabilities: Tensor, target: int, class_names: Sequence[str], count: int = 3
) -> None:
    """The strongest classes of one image as horizontal bars, the target in red."""
    top = probabilities.topk(min(count, len(probabilities)))
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
    """Curves of the optimisation: loss and score, or of a counterfactual image's probabilities."""
    axes = figure.add_subplot(place)
    shown = {"loss": INK, "score": ACCENT, "p_source": INK, "p_target": ACCENT}
    for name, colour in shown.items():
        if name in explanation.history:
            axes.plot(explanation.history[name].numpy(), color=colour, lw=1.2, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("class probability" if "p_target" in explanation.history else "nats")
    axes.set_title("optimisation", color=INK)
    if "area" in explanation.history:
        twin = axes.twinx()
        twin.plot(explanation.history["area"].numpy(), color="#2166ac", lw=1.2)
        twin.set_ylim(0, 1)
        twin.set_ylabel("expected area (share of the image)", color="#2166ac")
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)


def _short(name: str, width: int = 24) -> str:
    return textwrap.shorten(name, width, placeholder="…")


class _Numbers(Sequence[str]):
    """Names of classes that nobody has named."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:
        return f"class {index}"
