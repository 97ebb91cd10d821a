"""How sure a map is: a repeated map beside its standard error."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

from fido.records import Explanation, Sample
from fido.report.lines import fitted
from fido.report.style import ACCENT, INK, overlay


def uncertainty_figure(sample: Sample, explanation: Explanation, level: float = 0.95) -> Figure:
    """Two panels: the saliency with its region, and the standard error over repeats.

    In the second panel pixels are outlined that cannot be told from one half: those whose mean
    keep probability is less than the normal quantile of `level` standard errors away from it.

    Args:
        sample: What was explained.
        explanation: The result, with a `standard_error`.
        level: One-sided confidence of the outline.

    Raises:
        ValueError: If the map was learned once.
    """
    if explanation.standard_error is None or explanation.keep_prob is None:
        raise ValueError(f"{explanation.id}: no standard error; explain with explainer.repeats=4")
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    overlay(left, sample.image, explanation)
    share = float(explanation.region.float().mean())
    left.set_title(f"saliency\nregion {share:.1%} of the image", color=INK)
    error = explanation.standard_error[0].numpy()
    top = max(float(error.max()), 1e-6)
    drawn = right.imshow(error, cmap="Greys", vmin=0, vmax=top)
    distance = np.abs(explanation.keep_prob[0].numpy() - 0.5)
    open_ = distance < float(ndtri(level)) * error
    if open_.any() and not open_.all():
        right.contour(open_, levels=[0.5], colors=[ACCENT], linewidths=0.9)
    right.set_title(
        f"standard error of the keep probability\nundecided {open_.mean():.1%} of the image",
        color=INK,
    )
    right.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=right, shrink=0.8)
    title = fitted(explanation.id, 7.8, 12, bold=True)
    figure.suptitle(title, fontsize=12, color=INK, fontweight="bold")
    return figure
