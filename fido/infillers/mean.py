"""Infill with one constant colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fido.infillers.base import Infiller
from fido.runtime.noise import ImageNoise


class MeanInfiller(Infiller):
    """Fill with a constant colour, by default the mean of the ImageNet training set ("gray").

    Args:
        colour: Red, green, blue in [0, 1].

    Source: Chang et al. 2019, section 4.1 ("Mean").
    """

    one_proposal = True
    sees_mask = False

    def __init__(self, colour: Sequence[float] = (0.485, 0.456, 0.406)) -> None:
        super().__init__()
        if len(colour) != 3 or not all(0 <= value <= 1 for value in colour):
            raise ValueError(f"infiller.colour must be three numbers in [0, 1], got {colour}")
        self.register_buffer("colour", torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1))

    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`; an expanded view of one pixel."""
        self.repeats(image, keep)
        colour: Tensor = self.colour  # type: ignore[assignment]
        return colour.expand(keep.shape[0], 3, *keep.shape[-2:])
