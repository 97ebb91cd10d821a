"""One keep value per cell instead of a distribution: the mask of BBMP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.runtime.noise import ImageNoise


class PointMask(nn.Module):
    """Soft keep-masks of b images, learned directly and clamped to [0, 1] before they are used.

    Args:
        images: Number b of images.
        size: (h, w) of the images in pixels.
        grid: (gh, gw) cells; one number means a square grid.
        initial_keep: Initial value of every cell, in [0, 1]; 1 keeps the whole image.
        align_corners: Option of the bilinear upsampling; see `ConcreteMask`.

    Raises:
        ValueError: If a number is out of range or the grid is finer than the image.

    Source: Chang et al. 2019, algorithm 1 (BBMP).
    """

    def __init__(
        self,
        images: int,
        size: tuple[int, int],
        grid: int | tuple[int, int] = 56,
        initial_keep: float = 1.0,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        rows, columns = (grid, grid) if isinstance(grid, int) else grid
        if not (1 <= rows <= size[0] and 1 <= columns <= size[1]):
            raise ValueError(
                f"mask.grid must be between 1 and the image's {size[0]} x {size[1]} pixels, "
                f"got {rows} x {columns}"
            )
        if not 0 <= initial_keep <= 1:
            raise ValueError(f"mask.initial_keep must lie in [0, 1], got {initial_keep}")
        self.size = size
        self.align_corners = align_corners
        self.keep = nn.Parameter(torch.full((images, 1, rows, columns), initial_keep))

    def sample(self, samples: int, noise: ImageNoise, progress: float = 0.0) -> Tensor:
        """(b * samples, 1, h, w) the same mask `samples` times; draws nothing from `noise`.

        Clamps the parameters themselves, so that a step back from the border is not lost.
        """
        with torch.no_grad():
            self.keep.clamp_(0, 1)
        return self._to_pixels(self.keep).repeat_interleave(samples, 0)

    def draw(self, samples: int, noise: ImageNoise, progress: float = 0.0) -> tuple[Tensor, Tensor]:
        """Refused: one mask is no distribution.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "explainer.gradient=leave_one_out needs a distribution over masks: explainer=fido"
        )

    def binarize(self, keep: Tensor) -> Tensor:
        """Zeros and ones, without gradient: a pixel is kept while its value is 1.

        After the first steps the infiller therefore sees little of the image.

        Source: Chang et al. 2019, algorithm 1, as in the authors' code: 1[M >= 1].
        """
        # The tolerance is that of bilinear upsampling, which gives ones as 1 - 6e-8.
        return (keep.detach() >= 1 - 1e-6).to(keep.dtype)

    def keep_prob(self, progress: float = 1.0) -> Tensor:
        """(b, 1, h, w) the mask as it was last sampled, with gradient."""
        return self._to_pixels(self.keep)

    @torch.no_grad()
    def final_keep_prob(self) -> Tensor:
        """(b, 1, h, w) the map to show and to save."""
        return self._to_pixels(self.keep.clamp(0, 1))

    def _to_pixels(self, cells: Tensor) -> Tensor:
        return F.interpolate(cells, self.size, mode="bilinear", align_corners=self.align_corners)
