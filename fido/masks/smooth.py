"""Smooth masks from coarse cells: the soft maximum of one disc per cell."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.runtime.checks import check_above, check_at_least

SHARPNESS = 20.0
"""Sharpness of the soft maximum (paper, appendix); infinity is the maximum."""


class SmoothMask:
    """Upsample cells so that a mask's edges are never steeper than a disc's.

    The value at a pixel is `sum_k a_k softmax_k(20 a_k)` with `a_k = w_k m_k`: cell values m_k,
    weighted by distance as `w = exp(-2 max(0, distance / sigma - 1/2)^2)`. Cells outside of the
    grid are 0.

    Args:
        size: (h, w) of the image in pixels.
        cell_size: Side of a cell in pixels.
        sigma: Radius of a cell in pixels.
        margin: Pixels around the image for which the mask is computed too.

    Attributes:
        grid: (rows, columns) of cells.

    Raises:
        ValueError: If a number is out of range.

    Source: Fong, Patrick & Vedaldi 2019, section 3.2 and appendix.
    """

    def __init__(
        self, size: tuple[int, int], cell_size: int = 7, sigma: float = 21.0, margin: int = 18
    ) -> None:
        if not 1 <= cell_size <= min(size):
            raise ValueError(
                f"explainer.cell_size must be 1 to the image's {min(size)} pixels, got {cell_size}"
            )
        check_above(0, "explainer", sigma=sigma)
        check_at_least(0, "explainer", margin=margin)
        self.size = size
        self.cell_size = cell_size
        self.margin = margin
        self.grid = (math.ceil(size[0] / cell_size), math.ceil(size[1] / cell_size))
        self.reach = 1 + math.ceil(sigma / cell_size)  # cells; further ones are left out
        self.outer = math.ceil(margin / cell_size)  # cells around the grid that the margin covers
        self._weight = _weights(cell_size, sigma, self.reach)

    def with_margin(self, cells: Tensor) -> Tensor:
        """(n, 1, rows, columns) in [0, 1] -> (n, 1, h + 2 margin, w + 2 margin) in [0, 1]."""
        rows, columns = (side + 2 * self.outer for side in self.grid)
        padded = F.pad(cells, [self.outer + self.reach] * 4)
        near = F.unfold(padded, 2 * self.reach + 1)
        mixed: Tensor = _SoftMaximum.apply(near, self._weight.to(cells))
        full = F.pixel_shuffle(mixed.view(len(cells), -1, rows, columns), self.cell_size)
        first = self.outer * self.cell_size - self.margin
        h, w = (side + 2 * self.margin for side in self.size)
        return full[..., first : first + h, first : first + w]

    def crop(self, full: Tensor) -> Tensor:
        """The part of a mask with margin that lies on the image: (n, 1, h, w)."""
        h, w = self.size
        return full[..., self.margin : self.margin + h, self.margin : self.margin + w]


def _weights(cell_size: int, sigma: float, reach: int) -> Tensor:
    """(neighbouring cells, pixels of a cell) weight by the distance of pixel and cell centre."""
    pixel = torch.arange(cell_size) - (cell_size - 1) / 2
    centre = torch.arange(-reach, reach + 1) * cell_size
    along = (pixel.unsqueeze(0) - centre.unsqueeze(1)).square()  # (cells, pixels) of one axis
    distance = (along[:, None, :, None] + along[None, :, None, :]).sqrt()
    weight = torch.exp(-2 * (distance / sigma - 0.5).clamp(min=0).square())
    return weight.view((2 * reach + 1) ** 2, cell_size**2)


class _SoftMaximum(torch.autograd.Function):
    """Soft maximum over neighbouring cells, for all pixels of all cells.

    One pixel of the cells at a time: all at once would be 5.7 million numbers a mask at 224 x 224,
    which leave the cache between any two operations.
    """

    @staticmethod
    def forward(ctx: Any, near: Tensor, weight: Tensor) -> Tensor:
        """(n, neighbours, cells), (neighbours, pixels) -> (n, pixels, cells)."""
        values = []
        for w in weight.unbind(1):
            reached = w[:, None] * near
            share = (SHARPNESS * reached).exp_()
            total = share.sum(1)
            values.append(share.mul_(reached).sum(1) / total)
        value = torch.stack(values, 1)
        ctx.save_for_backward(near, weight, value)
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """With p_k the shares and v the value, dv / da_k = p_k (1 + sharpness (a_k - v))."""
        near, weight, value = ctx.saved_tensors
        total_slope = torch.zeros_like(near)
        for pixel, w in enumerate(weight.unbind(1)):
            reached = w[:, None] * near
            share = (SHARPNESS * reached).exp_()
            outer = slope[:, pixel] / share.sum(1)
            lift = reached.sub_(value[:, None, pixel]).mul_(SHARPNESS).add_(1)
            total_slope += share.mul_(lift).mul_(outer[:, None]).mul_(w[:, None])
        return total_slope, None
