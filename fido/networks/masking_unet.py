"""A network that predicts a mask in one pass, from the features of a frozen classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-4
"""Keeps `|a| / (|a| + |b|)` defined where both are 0."""


class MaskingUNet(nn.Module):
    """Decode deep features to a fine mask, joining finer features at every step.

    The deepest features are gated by the class: `features * sigmoid(activation - confidence)` is
    about 0 where the class has no evidence. Every step doubles the resolution by sub-pixel
    convolution and joins the classifier's features of that resolution. The last step gives two
    maps a and b, and the mask is `|a| / (|a| + |b|)`.

    Args:
        skips: Channels of the features that are joined, fine to coarse.
        deep: Channels of the deepest features.
        widths: Channels after joining each of `skips`, fine to coarse.
        confidence: Activation, in logits, at which the gate is half open.

    Raises:
        ValueError: If there is not one width for every skip, or no skip.

    Source: Dabkowski & Gal 2017.
    """

    def __init__(
        self,
        skips: Sequence[int] = (24, 40, 112),
        deep: int = 1280,
        widths: Sequence[int] = (32, 64, 96),
        confidence: float = 6.0,
    ) -> None:
        super().__init__()
        if not skips or len(skips) != len(widths):
            raise ValueError(f"network needs a width for every skip, got {widths} for {skips}")
        self.confidence = confidence
        sources = [*widths[1:], 2 * widths[-1]]
        self.deep = _projected(deep, sources[-1])
        self.steps = nn.ModuleList(
            _Step(source, skip, width)
            for source, skip, width in zip(sources, skips, widths, strict=True)
        )
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, features: Sequence[Tensor], deep: Tensor, activation: Tensor) -> Tensor:
        """Predict masks at the resolution of the finest features.

        Args:
            features: Fine to coarse, each (n, skips[i], h_i, w_i), a side half of the one before.
            deep: (n, deep, h, w), a side half of the coarsest of `features`.
            activation: (n, 1, h, w) class activation map at the resolution of `deep`, in logits.

        Returns:
            (n, 1, h_0, w_0) in (0, 1); 1 is evidence.
        """
        # Projected first: a normalisation after the gate would undo it.
        x = self.deep(deep) * torch.sigmoid(activation - self.confidence)
        for step, skip in zip(reversed(self.steps), reversed(features), strict=True):
            x = step(x, skip)
        maps: Tensor = self.head(x)
        a, b = maps.abs().add(EPSILON).chunk(2, 1)
        return a / (a + b)


class _Step(nn.Module):
    """Double the resolution and join the features of that resolution."""

    def __init__(self, source: int, skip: int, width: int) -> None:
        super().__init__()
        self.up = nn.Conv2d(source, 4 * width, 1)
        self.skip = _projected(skip, width)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        h, w = skip.shape[-2:]
        # Of an odd side the classifier made the larger half.
        up = F.relu(F.pixel_shuffle(self.up(x), 2))[..., :h, :w]
        joined: Tensor = self.norm(self.join(torch.cat([up, self.skip(skip)], 1)))
        return joined.relu()


def _projected(source: int, width: int) -> nn.Sequential:
    """1 x 1 convolution to `width` channels of unit scale, whatever the scale of the source."""
    return nn.Sequential(nn.Conv2d(source, width, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU())
