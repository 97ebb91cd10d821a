"""What every explanation method promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from fido.explainers.progress import Progress as Progress
from fido.records import Explanation, Sample


class Explainer(Protocol):
    """A method that says which pixels carry a decision.

    A map belongs to (sample, target, settings, seed) alone: it does not depend on the other
    samples of the batch, on their order, or on how many there are.
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """One explanation a sample, in order.

        Args:
            samples: All of one image size, each with its `target` set.
        """
        ...


def half_of_maximum(saliency: Tensor) -> float:
    """The threshold of maps on no fixed scale; a map without positive values has no region.

    Of the finite values: one pixel that is not must not take the others' region away.
    """
    finite = saliency[saliency.isfinite()]
    highest = float(finite.max()) if finite.numel() else 0.0
    return highest / 2 if highest > 0 else highest
