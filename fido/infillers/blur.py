"""Infill with the blurred image."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.infillers.base import Infiller, per_mask
from fido.infillers.filters import gaussian_blur
from fido.runtime.checks import check_above
from fido.runtime.noise import ImageNoise


class BlurInfiller(Infiller):
    """Fill with a Gaussian blur of the whole image, dropped pixels included.

    It therefore leaks low frequencies of what was dropped; no other infiller does.

    Args:
        sigma: Standard deviation in pixels, > 0; the kernel reaches 4 sigma (as OpenCV chooses for
            floats) and the border is reflected.

    Source: Chang et al. 2019, section 4.1 ("Blur", sigma 10).
    """

    one_proposal = True
    sees_mask = False

    def __init__(self, sigma: float = 10.0) -> None:
        super().__init__()
        check_above(0, "infiller", sigma=sigma)
        self.sigma = sigma

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`; computed once per image, whatever the number of masks."""
        repeats = self.repeats(image, keep)
        return per_mask(gaussian_blur(image, self.sigma), repeats)
