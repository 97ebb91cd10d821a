"""Objectives of mask optimisation: a class score against the size of a region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from fido.runtime.checks import check_at_least


def total_variation(prob: Tensor) -> Tensor:
    """(b, 1, h, w) -> (b,): sum of squared differences of vertical and horizontal neighbours.

    Source: Chang et al. 2019, appendix (Fig. 14); anisotropic, summed over pixels.
    """
    rows = (prob[..., 1:, :] - prob[..., :-1, :]).square().sum((1, 2, 3))
    columns = (prob[..., :, 1:] - prob[..., :, :-1]).square().sum((1, 2, 3))
    return rows + columns


@dataclass(frozen=True)
class Objective(ABC):
    """A weighted sum of a class score and the size of a region.

    Args:
        sparsity: Penalty per pixel of the region, in nats, >= 0.
        total_variation: Penalty per unit of total variation of the keep probability, in nats, >= 0.
        warmup_steps: The two penalties grow linearly from 0 to full strength over these steps.

    Raises:
        ValueError: If a number is negative.
    """

    sparsity: float
    total_variation: float = 0.0
    warmup_steps: int = 30

    def __post_init__(self) -> None:
        check_at_least(
            0,
            "objective",
            sparsity=self.sparsity,
            total_variation=self.total_variation,
            warmup_steps=self.warmup_steps,
        )

    def loss(self, score: Tensor, keep_prob: Tensor, step: int) -> Tensor:
        """Return the loss of every image, to be minimised.

        Args:
            score: (b,) class score in nats, averaged over an image's masks.
            keep_prob: (b, 1, h, w) probability of keeping a pixel, at image resolution: the
                penalty is a sum over image pixels, so `sparsity` means the same on every grid.
            step: Index of the optimisation step, from 0.

        Returns:
            (b,) in nats.

        Source: Chang et al. 2019, eqs. 4 and 5. The signs of the penalties are those of the text
            and of the authors' code; as printed, the two equations have them exchanged.
        """
        size = self.saliency(keep_prob).sum((1, 2, 3))
        penalty = self.sparsity * size
        if self.total_variation:
            penalty = penalty + self.total_variation * total_variation(keep_prob)
        warmup = min(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self.class_term(score) + warmup * penalty

    @abstractmethod
    def class_term(self, score: Tensor) -> Tensor:
        """Return the (b,) class term of the loss."""

    @abstractmethod
    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the saliency of a keep probability; its sum is the size of the region."""


class SSR(Objective):
    """Smallest sufficient region: keep the class with as few kept pixels as possible."""

    def class_term(self, score: Tensor) -> Tensor:
        """The negative score: the kept pixels shall raise the class."""
        return -score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the probability of being kept."""
        return keep_prob


class SDR(Objective):
    """Smallest destroying region: lose the class with as few dropped pixels as possible."""

    def class_term(self, score: Tensor) -> Tensor:
        """The score: the pixels that are left shall lower the class."""
        return score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the probability of being dropped."""
        return 1 - keep_prob
