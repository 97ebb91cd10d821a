"""A page of the perturbed images of one photo, a method a row."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fido.evaluation.perturbed_samples import PerturbedSamples
from fido.report.lines import fitted
from fido.report.style import ACCENT, INK

SIDE = 1.75  # inches of a picture


def sample_page(samples: PerturbedSamples, title: str) -> Figure:
    """The photo at the left; beside it a row an infiller and a column a mask, with p(label).

    Below every image stands the class that comes first if it is another one than the label.

    Args:
        samples: What is drawn.
        title: Above the page.

    Source: Agarwal and Nguyen 2020, Figs. 7a, 9, S7 and S8 to S15.
    """
    names = list(samples.images)
    count = len(next(iter(samples.images.values())))
    side = SIDE
    figure = Figure(
        figsize=(side * (count + 1) + 0.4, (side + 0.45) * len(names) + 0.5), layout="constrained"
    )
    panels = figure.subplots(len(names), count + 1, squeeze=False)
    for line, name in zip(panels, names, strict=True):
        for axes, image, p, seen in zip(
            line[1:],
            samples.images[name],
            samples.probabilities[name].tolist(),
            samples.seen[name],
            strict=True,
        ):
            _picture(axes, image)
            other = "" if seen == samples.label else "\n" + fitted(seen, SIDE, 8)
            axes.set_xlabel(f"p {p:.3f}{other}", fontsize=8, color=ACCENT if other else INK)
        line[1].set_ylabel(name, fontsize=9, color=INK)
        line[0].set_axis_off()
    _picture(panels[0][0], samples.image)
    panels[0][0].set_axis_on()
    panels[0][0].set_xlabel(f"p {samples.probability:.3f}", fontsize=8, color=INK)
    panels[0][0].set_title(fitted(samples.label, SIDE, 9), fontsize=9, color=INK)
    figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _picture(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#cccccc")
