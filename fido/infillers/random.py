"""Infill with noise."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.infillers.base import Infiller
from fido.runtime.checks import check_at_least
from fido.runtime.noise import ImageNoise


class RandomInfiller(Infiller):
    """Fill with Gaussian noise around a random colour, drawn anew for every mask.

    `clip(colour + sigma * n, 0, 1)`, n standard normal for every pixel and channel.

    Args:
        sigma: Standard deviation of the noise.
        colour: "random" draws one colour per mask, uniform in [0, 1]^3 (authors' code); a number is
            a fixed grey level (the paper's text names no colour).

    Source: Chang et al. 2019, section 4.1 ("Random", sigma 0.2).
    """

    needs_noise = True
    sees_mask = False

    def __init__(self, sigma: float = 0.2, colour: float | str = "random") -> None:
        super().__init__()
        check_at_least(0, "infiller", sigma=sigma)
        if isinstance(colour, str) and colour != "random":
            raise ValueError(f"infiller.colour must be 'random' or a number, got {colour!r}")
        self.sigma = sigma
        self.colour = colour

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`.

        Raises:
            ValueError: If no noise is given.
        """
        if noise is None:
            raise ValueError("RandomInfiller.infill needs the images' noise")
        repeats = self.repeats(image, keep)
        pixels = noise.normal(repeats, 3, *image.shape[-2:]).mul_(self.sigma)
        if isinstance(self.colour, str):
            pixels += noise.uniform(repeats, 3, 1, 1)
        else:
            pixels += self.colour
        return pixels.clamp_(0, 1)
