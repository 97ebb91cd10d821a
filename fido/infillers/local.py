"""Infill with the mean of the kept pixels nearby."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.infillers.base import Infiller, per_mask
from fido.infillers.filters import separable_filter
from fido.runtime.noise import ImageNoise


class LocalInfiller(Infiller):
    """Fill with the mean of the kept pixels in a square window.

    `box(keep * image) / box(keep)`; a pixel whose window holds no kept pixel gets `colour`.

    Args:
        window: Side of the window in pixels, odd.
        colour: Red, green, blue in [0, 1] where nothing is kept nearby.

    Source: Chang et al. 2019, section 4.1 ("Local", 15 x 15).
    """

    def __init__(
        self, window: int = 15, colour: tuple[float, float, float] = (0.485, 0.456, 0.406)
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"infiller.window must be an odd number of pixels, got {window}")
        self.window = window
        self.register_buffer("colour", torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1))

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`."""
        repeats = self.repeats(image, keep)
        kept = torch.cat([per_mask(image, repeats) * keep, keep], dim=1)
        window = torch.full((self.window,), 1 / self.window)
        sums = separable_filter(kept, window, "zeros")
        count = sums[:, 3:]
        colour: Tensor = self.colour  # type: ignore[assignment]
        # Half a pixel lies below every possible count but zero, and above rounding.
        return torch.where(count > 0.5 / self.window**2, sums[:, :3] / count, colour).clamp_(0, 1)
