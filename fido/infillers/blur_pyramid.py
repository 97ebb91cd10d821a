"""Blur that varies from pixel to pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.infillers.filters import gaussian_kernel, separable_filter


class BlurPyramid:
    """Blur every pixel the more, the less of it is kept.

    Level l of L has standard deviation `max_sigma (1 - l / (L - 1))`: the first is the most
    blurred, the last the image. A keep value k in [0, 1] is the fractional level `k (L - 1)`.
    Outside of the image there is `colour`, into which the border fades.

    Args:
        image: (b, 3, h, w) in [0, 1].
        colour: (1, 3, 1, 1) outside of the image.
        max_sigma: Pixels.
        levels: Number L, at least 2.

    Raises:
        ValueError: If a number is out of range.

    Source: Fong, Patrick & Vedaldi 2019, section 3 and appendix.
    """

    def __init__(
        self, image: Tensor, colour: Tensor, max_sigma: float = 20.0, levels: int = 8
    ) -> None:
        if max_sigma <= 0 or levels < 2:
            raise ValueError(
                "a blur pyramid needs max_sigma above 0 and 2 or more levels, "
                f"got {max_sigma} and {levels}"
            )
        blurred = []
        for level in range(levels - 1):
            sigma = max_sigma * (1 - level / (levels - 1))
            kernel = gaussian_kernel(sigma, math.ceil(3 * sigma))
            blurred.append(separable_filter(image - colour, kernel, "zeros") + colour)
        self.levels = torch.stack([*blurred, image], 1)  # (b, levels, 3, h, w)

    def mix(self, keep: Tensor) -> Tensor:
        """Blur by keep values (b * s, 1, h, w) to (b * s, 3, h, w); row r is of image r // s."""
        b, count, channels, h, w = self.levels.shape
        s = keep.shape[0] // b
        place = keep * (count - 1)
        below = place.detach().floor().clamp(max=count - 2)
        index = below.long().view(b, s, 1, h, w).expand(b, s, channels, h, w)
        lower = self.levels.gather(1, index).view(b * s, channels, h, w)
        upper = self.levels.gather(1, index + 1).view(b * s, channels, h, w)
        return torch.lerp(lower, upper, place - below)
