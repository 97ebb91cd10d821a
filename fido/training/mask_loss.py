"""Losses of the masking network: four terms, as in the paper and as in its authors' code."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fido import scores


class MaskerLoss(Protocol):
    """A loss of masks and of the logits with and without their region."""

    def __call__(
        self, keep: Tensor, kept: Tensor, dropped: Tensor, target: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        """The terms before their weights, and "loss", their weighted sum.

        Args:
            keep: (n, 1, h, w) masks in [0, 1] at the network's resolution; 1 keeps.
            kept: (n, classes) logits of the images of which only the mask's region is left.
            dropped: (n, classes) logits of the images without the mask's region.
            target: (n,) the classes that the images show.
            real: (n,) bool; False where the mask is for a class that the image does not show.
        """
        ...


def hinge_to_class(logits: Tensor, target: Tensor, margin: float) -> Tensor:
    """(n,) `relu(max of the others - z_c + margin)`: 0 once the class leads by the margin."""
    return (margin - lead(logits, target)).relu()


def hinge_from_class(logits: Tensor, target: Tensor, margin: float) -> Tensor:
    """(n,) `relu(z_c - max of the others + margin)`: 0 once the class is that far behind."""
    return (margin + lead(logits, target)).relu()


def lead(logits: Tensor, target: Tensor) -> Tensor:
    """(n,) `z_c - max_{k != c} z_k`, in logits."""
    column = target.unsqueeze(1)
    others = logits.scatter(1, column, float("-inf")).amax(1)
    return logits.gather(1, column).squeeze(1) - others


def squared_variation(keep: Tensor, border: float = 0.0) -> Tensor:
    """Sum of squared differences of neighbours, mean over the batch.

    Args:
        keep: (n, 1, h, w).
        border: Weight of the squared values along the border, whose neighbours outside are 0.
    """
    down, right = keep.diff(dim=2).square().sum(), keep.diff(dim=3).square().sum()
    sides = (keep[:, :, 0], keep[:, :, -1], keep[..., 0], keep[..., -1])
    edges = torch.stack([side.square().sum() for side in sides]).sum()
    return (down + right + border * edges) / len(keep)


class HingeLoss:
    """destroy + preserve weight * preserve + area weight * area + TV weight * variation.

    area = mean of (keep + 0.0005)^0.3, which presses small values to 0; variation is halved and has
    0.3 of the border. Where a mask was drawn for a class that is not there, kept and dropped image
    swap roles: nothing should be in it, so that the class that *is* there stays when it is dropped.

    Args:
        preserve: Weight of the hinge on the kept image (margin 1 logit).
        area: Weight of the area.
        total_variation: Weight of the variation, a sum over the cells of the mask.

    Source: the code of Dabkowski & Gal 2017.
    """

    def __init__(
        self, preserve: float = 0.3, area: float = 8.0, total_variation: float = 0.005
    ) -> None:
        self.preserve = preserve
        self.area = area
        self.total_variation = total_variation

    def __call__(
        self, keep: Tensor, kept: Tensor, dropped: Tensor, target: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        """See `MaskerLoss`."""
        preserve = torch.where(
            real, hinge_to_class(kept, target, 1.0), hinge_from_class(kept, target, 1.0)
        ).mean()
        destroy = torch.where(
            real, hinge_from_class(dropped, target, 5.0), hinge_to_class(dropped, target, 1.0)
        ).mean()
        area = (keep + 0.0005).pow(0.3).mean()
        variation = squared_variation(keep, border=0.3) / 2
        loss = destroy + self.preserve * preserve + self.area * area
        return {
            "loss": loss + self.total_variation * variation,
            "destroy": destroy,
            "preserve": preserve,
            "area": area,
            "variation": variation,
        }


class PaperLoss:
    """`l1 TV + l2 mean(keep) - log p_c(kept) + l3 p_c(dropped)^l4`.

    The probabilities count only where the mask was drawn for the class that the image shows;
    elsewhere it is to be empty.

    Args:
        total_variation: l1, of a mean over the cells of the mask.
        area: l2.
        destroy: l3.
        power: l4, below 1, so that small probabilities are pressed further.

    Source: Dabkowski & Gal 2017.
    """

    def __init__(
        self,
        total_variation: float = 10.0,
        area: float = 1e-3,
        destroy: float = 5.0,
        power: float = 0.3,
    ) -> None:
        self.total_variation = total_variation
        self.area = area
        self.destroy = destroy
        self.power = power

    def __call__(
        self, keep: Tensor, kept: Tensor, dropped: Tensor, target: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        """See `MaskerLoss`."""
        preserve = -(scores.log_probability(kept, target) * real).mean()
        # exp(l4 log p): its gradient is finite at a probability of 0.
        destroy = ((self.power * scores.log_probability(dropped, target)).exp() * real).mean()
        area = keep.mean()
        variation = squared_variation(keep) / (keep.shape[-2] * keep.shape[-1])
        loss = self.total_variation * variation + self.area * area
        return {
            "loss": loss + preserve + self.destroy * destroy,
            "destroy": destroy,
            "preserve": preserve,
            "area": area,
            "variation": variation,
        }
