"""A threshold chosen on a held-out part of the images, and applied to the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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

    def set_values(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """The chosen "alpha" and the number of images it was "held_out" for; none without any.

        Args:
            losses: (alphas,) losses of every image by id.
        """
        best = self._best(losses)
        if best is None:
            return {}
        return {"alpha": self.alphas[best], "held_out": sum(map(self.held_out, losses))}

    def at_best(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """The loss at the chosen alpha by image id; NaN for images it was chosen on."""
        best = self._best(losses)
        return {
            image_id: math.nan if best is None or self.held_out(image_id) else float(loss[best])
            for image_id, loss in losses.items()
        }

    def _best(self, losses: Mapping[str, Tensor]) -> int | None:
        held = [losses[image_id] for image_id in sorted(losses) if self.held_out(image_id)]
        if not held or not self.alphas:
            return None
        # Rounded, so that the last bits of a mean do not decide between equal ones; the first wins.
        return int(torch.stack(held).double().mean(0).round(decimals=9).argmin())
