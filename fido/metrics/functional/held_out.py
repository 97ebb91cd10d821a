"""A threshold chosen on a held-out part of the images, and applied to the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fido.runtime.noise import image_seed

ALPHAS = tuple(round(0.05 * i, 2) for i in range(20))
"""0, 0.05, ..., 0.95 (Agarwal and Nguyen 2020, section 4.3)."""


@dataclass(frozen=True)
class HeldOutAlpha:
    """Chooses the share of a map's maximum at which a mean loss is lowest.

    Whether an image is held out depends on its id and the seed alone: it is the same for every
    method and does not change when images are added.

    Attributes:
        alphas: Shares of the maximum that are tried.
        share: Expected share of held-out images, in [0, 1).
        seed: Another seed holds out other images.
    """

    alphas: Sequence[float] = ALPHAS
    share: float = 1 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"the held-out share must lie in [0, 1), got {self.share}")

    def held_out(self, image_id: str) -> bool:
        """Whether alpha is chosen on this image."""
        return image_seed(self.seed, image_id, "holdout") < self.share * 2**63

    def set_values(self, ids: Sequence[str], losses: NDArray[np.float64]) -> dict[str, float]:
        """The chosen "alpha" and the number of images it was "held_out" for; none without any.

        Args:
            ids: n image ids.
            losses: (n, alphas) losses of each; NaN for images that have none.
        """
        held = self._held(ids, losses)
        if not len(held):
            return {}
        return {"alpha": self.alphas[_lowest(held)], "held_out": float(len(held))}

    def at_best(
        self,
        ids: Sequence[str],
        losses: NDArray[np.float64],
        values: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """(n,) values at the chosen alpha; NaN for images that it was chosen on.

        Args:
            ids: n image ids.
            losses: (n, alphas) losses of each; NaN for images that have none.
            values: (n, alphas) of what is wanted; None is the losses.
        """
        held = self._held(ids, losses)
        if not len(held):
            return np.full(len(ids), math.nan)
        chosen_on = np.array([self.held_out(image_id) for image_id in ids])
        return np.where(
            chosen_on, math.nan, (losses if values is None else values)[:, _lowest(held)]
        )

    def curve(self, ids: Sequence[str], losses: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(alphas,) mean loss of the held-out images, on which alpha is chosen; None without any.

        Source: Agarwal and Nguyen 2020, Fig. S6.
        """
        held = self._held(ids, losses)
        return held.mean(0) if len(held) else None

    def _held(self, ids: Sequence[str], losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, alphas) losses of the images that choose, sorted by id."""
        if not self.alphas or not losses.size:
            return np.empty((0, 0))
        defined = np.logical_not(np.isnan(losses).any(axis=1))
        order = sorted(range(len(ids)), key=lambda i: ids[i])
        return losses[[i for i in order if defined[i] and self.held_out(ids[i])]]


def _lowest(losses: NDArray[np.float64]) -> int:
    # Rounded, so that the last bits of a mean do not decide between equal ones; the first wins.
    return int(losses.mean(0).round(9).argmin())
