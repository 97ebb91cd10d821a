"""The figure of a counterfactual image, drawn from a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from torch import Tensor

from fido.records import Explanation, RegionEdit, Sample
from fido.report.counterfactual_film import frames
from fido.report.lines import fitted
from fido.report.style import ACCENT, INK, QUIET

BLUE = "#2166ac"
WIDE, PANEL = 14.8, 3.1  # inches of the figure's and of a picture's lines


def counterfactual_figure(
    sample: Sample,
    explanation: Explanation,
    edit: RegionEdit | None,
    class_names: Sequence[str],
    footer: str = "",
) -> Figure:
    """Photo, counterfactual, signed change, probabilities over the steps, images on the way.

    Args:
        sample: The photo.
        explanation: With a counterfactual.
        edit: Has the classifier's answer to the photo; None leaves it out.
        class_names: Name of every class.
        footer: Below the pictures.
    """
    image = explanation.counterfactual
    assert image is not None
    target, before, source = class_names[explanation.target], "", "photo"
    if edit is not None:
        answer = edit.probabilities[0]
        source = class_names[int(answer.argmax())]
        before = _answers(source, answer.max(), target, answer[explanation.target])
    film = frames(sample, explanation)
    last = {name: float(curve[-1]) for name, curve in explanation.history.items()}
    title = fitted(f"{sample.id}: {source} → {target}{_outcome(last)}", WIDE, 12, bold=True)
    tall = (5.2 if film is None else 6.9) + 0.2 * title.count("\n")
    figure = Figure(figsize=(WIDE + 0.2, tall), layout="constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=(3.2, 1.25 if film is not None else 0.01))
    grid = rows[0].subgridspec(1, 4, width_ratios=(1, 1, 1.17, 1.15))
    _picture(figure.add_subplot(grid[0]), sample.image, f"photo\n{before}")
    after = ""
    if "p_target" in last:
        after = _answers(source, last["p_source"], target, last["p_target"])
    _picture(figure.add_subplot(grid[1]), image.float() / 255, f"counterfactual\n{after}")
    _signed_change(figure.add_subplot(grid[2]), sample.image, image.float() / 255)
    _probabilities(figure.add_subplot(grid[3]), explanation, source, target)
    if film is not None:
        _strip(figure, rows[1], film)
    figure.suptitle(title, fontsize=12, color=INK, fontweight="bold")
    if footer:
        figure.supxlabel(fitted(footer, WIDE, 8), fontsize=8, color=INK)
    return figure


def signed_change(photo: Tensor, counterfactual: Tensor) -> np.ndarray:
    """(h, w) in [-1, 1]: counterfactual minus photo, of the colour that changes most.

    Both are (3, h, w) in [0, 1]. The mean over colours would be 0 where orange becomes green.
    """
    difference = counterfactual - photo
    most = difference.abs().argmax(0, keepdim=True)
    signed: np.ndarray = difference.gather(0, most)[0].numpy()
    return signed


def _outcome(last: dict[str, float]) -> str:
    if "flipped" not in last:
        return ""
    return "" if last["flipped"] else "  (the class did not flip)"


def _picture(axes: Axes, image: Tensor, title: str) -> None:
    axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=INK, fontsize=10)


def _signed_change(axes: Axes, photo: Tensor, counterfactual: Tensor) -> None:
    """Red where a colour became stronger, blue where it became weaker, white where it is equal."""
    change = signed_change(photo, counterfactual)
    reach = max(float(np.abs(change).max()), 1 / 255)
    norm = TwoSlopeNorm(0.0, -reach, reach)
    drawn = axes.imshow(change, cmap="RdBu_r", norm=norm, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    mean = float((counterfactual - photo).abs().mean())
    axes.set_title(
        f"change of the colour that changes most\nmean {mean:.3f}", color=INK, fontsize=10
    )
    axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)


def _probabilities(axes: Axes, explanation: Explanation, source: str, target: str) -> None:
    """The classifier's answers to the estimates; the last ones, to the result, as dots."""
    for name, label, colour in (("p_source", source, BLUE), ("p_target", target, ACCENT)):
        if name in explanation.history:
            curve = explanation.history[name].numpy()
            axes.plot(curve, color=colour, lw=1.6, label=fitted(label, 2.4, 9))
            axes.plot(len(curve) - 1, curve[-1], "o", color=colour, ms=5, clip_on=False)
    axes.set(xlabel="step", ylim=(0, 1))
    axes.set_title("class probability", color=INK, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=QUIET, alpha=0.3, lw=0.6)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9, loc="best")


def _strip(figure: Figure, place: SubplotSpec, film: Tensor) -> None:
    """The film side by side: photo, estimates from noisy to clean, counterfactual."""
    grid = place.subgridspec(1, len(film), wspace=0.02)
    for column, image in enumerate(film):
        axes = figure.add_subplot(grid[column])
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.set(xticks=[], yticks=[])
        title = {0: "photo", len(film) - 1: "counterfactual"}.get(column, f"estimate {column}")
        axes.set_title(title, color=INK, fontsize=8.5)


def _answers(source: str, p_source: Tensor | float, target: str, p_target: Tensor | float) -> str:
    """One line if there is room, else a name after the other."""
    before, after = f"{source} {float(p_source):.2f}", f"{target} {float(p_target):.2f}"
    if "\n" not in (one := fitted(f"{before}, {after}", PANEL, 10)):
        return one
    return "\n".join(fitted(text, PANEL, 10) for text in (before, after))
