"""How a map is coloured: probabilities from 0 to 1, other maps up to a stated percentile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fido.metrics.score_set import Array
from fido.records import Explanation

PERCENTILE = 99.0
"""Of the values (their magnitudes, where a map is signed): the end of the colour scale."""

COLOURS = {"probability": "cividis", "positive": "cividis", "signed": "PuOr_r"}
"""Kind of a map to the matplotlib colour map; all are told apart by colour-blind people."""


@dataclass(frozen=True)
class MapScale:
    """The colour scale of a map.

    Attributes:
        kind: "probability" for maps on a scale of 0 to 1, "signed" where there are negative
            values, else "positive".
        low: Value of the first colour.
        high: Value of the last colour, above `low`.
    """

    kind: Literal["probability", "signed", "positive"]
    low: float
    high: float

    @property
    def colours(self) -> str:
        """Name of the matplotlib colour map."""
        return COLOURS[self.kind]

    @property
    def label(self) -> str:
        """What stands beside the colour bar."""
        if self.kind == "probability":
            return "0 to 1, the same for all maps of probabilities"
        if self.kind == "signed":
            return f"\N{PLUS-MINUS SIGN} the {PERCENTILE:.0f}th percentile of |value|"
        return f"{100 - PERCENTILE:.0f}st to {PERCENTILE:.0f}th percentile of the values"


def map_scale(explanation: Explanation) -> MapScale:
    """The scale of a map.

    A map is one of probabilities if its method says so by a `keep_prob`, or if its threshold is 0.5
    and all of its values lie in [0, 1]. Otherwise the scale ends at the 99th percentile, so that
    single pixels do not hide the rest, and that of a signed map is symmetric about 0.
    """
    values = finite_values(explanation)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    unit = explanation.threshold == 0.5 and low >= 0 and high <= 1
    if explanation.keep_prob is not None or unit:
        return MapScale("probability", 0.0, 1.0)
    if low < 0:
        reach = float(np.percentile(np.abs(values), PERCENTILE)) or max(-low, high)
        return MapScale("signed", -reach, reach)
    ends = np.percentile(values, [100 - PERCENTILE, PERCENTILE]) if values.size else (0.0, 1.0)
    first, last = float(ends[0]), float(ends[1])
    if last <= first:  # a few pixels hold everything, or all are equal
        first, last = low, high if high > low else low + 1.0
    return MapScale("positive", first, last)


def finite_values(explanation: Explanation) -> Array:
    """All values of a map that are finite numbers, in one row."""
    values = explanation.saliency.numpy().astype(np.float64).ravel()
    return values[np.isfinite(values)]
