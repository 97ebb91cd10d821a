"""What a mask is asked for: the smallest region that keeps the class, or whose loss destroys it."""

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
    """A trade between the class score and the size of a region.

    Args:
        sparsity: Nats for each pixel of the region, >= 0.
        total_variation: Nats for each unit of total variation of the keep probability, >= 0.
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
        """Loss of every image, to be minimised.

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
        """(b,) the part of the loss that speaks of the class."""

    @abstractmethod
    def saliency(self, keep_prob: Tensor) -> Tensor:
        """The map of evidence that a keep probability stands for; its sum is the region's size."""


class SSR(Objective):
    """Smallest sufficient region: keep the class with as few kept pixels as possible."""

    def class_term(self, score: Tensor) -> Tensor:
        """The negative score: what is kept shall raise the class."""
        return -score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Evidence is what is kept."""
        return keep_prob


class SDR(Objective):
    """Smallest destroying region: lose the class with as few dropped pixels as possible."""

    def class_term(self, score: Tensor) -> Tensor:
        """The score itself: what is left shall lower the class."""
        return score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Evidence is what is dropped."""
        return 1 - keep_prob
