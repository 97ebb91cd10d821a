"""A figure of images by infillers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from fido.evaluation.infills import Infills
from fido.report.style import INK

HOLE = 1.0
"""Grey level of dropped pixels in the picture of the mask."""


def fills_figure(rows: Sequence[Infills], title: str) -> Figure:
    """A row an image: the photo, what is kept of it, and each infiller's; p(label) below.

    Args:
        rows: At least one, all of the same infillers.
        title: Above the figure.

    Raises:
        ValueError: If there is no row.

    Source: Chang et al. 2019, Fig. 3.
    """
    if not rows:
        raise ValueError(
            "a figure of fills needs an image; the distribution has a mask for none of them"
        )
    names = ["photo", "kept", *rows[0].filled]
    side = 1.7
    figure = Figure(
        figsize=(side * len(names) + 0.3, (side + 0.05) * len(rows) + 0.5), layout="constrained"
    )
    panels = figure.subplots(len(rows), len(names), squeeze=False)
    for line, fills in zip(panels, rows, strict=True):
        kept = torch.where(fills.keep, fills.image, torch.full_like(fills.image, HOLE))
        pictures: list[Tensor] = [fills.image, kept, *fills.filled.values()]
        p = [fills.probability.get(key) for key in ("", *fills.filled)]
        chances = [p[0], None, *p[1:]]
        for axes, picture, chance, name in zip(line, pictures, chances, names, strict=True):
            axes.imshow(picture.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#cccccc")
            if fills is rows[0]:
                axes.set_title(name, fontsize=9, color=INK)
            if chance is not None:
                axes.set_xlabel(f"p {chance:.2f}", fontsize=8, color=INK)
        line[0].set_ylabel("\n".join(textwrap.wrap(fills.label, 18)), fontsize=8, color=INK)
    figure.suptitle(title, fontsize=10, color=INK)
    return figure
