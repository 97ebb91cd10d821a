"""What figures have in common: colours, the saliency over a photo, saving."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from fido.records import Explanation
from fido.runtime.files import atomic_path

INK, ACCENT, QUIET = "#222222", "#b2182b", "#9aa5b1"


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


def short(name: str, width: int = 24) -> str:
    """The beginning of a name that is too long for its place."""
    return as_text(textwrap.shorten(name, width, placeholder="…"))


def as_text(name: str) -> str:
    """A name as matplotlib draws it letter by letter: without mathematics between dollar signs."""
    return name.replace("$", r"\$")
