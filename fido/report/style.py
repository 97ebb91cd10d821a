"""What figures have in common: colours, the saliency over a photo, saving."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from torch import Tensor

from fido.records import Explanation
from fido.runtime.files import atomic_path
from fido.runtime.names import printable

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
    """Write a PNG atomically; what is written in the figure is drawn letter by letter.

    Names are the users': two dollar signs are no formula, a line break or a byte that is no text
    is drawn as its escape.
    """
    FigureCanvasAgg(figure)
    # Labels of ticks are made while the figure is drawn.
    with atomic_path(path) as temporary, rc_context({"text.parse_math": False}):
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(temporary, dpi=dpi, format="png", facecolor="white")
    return path
