"""Some cells of a grid may change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fido.diffusion.regions.base import Region
from fido.records import Sample


class CellRegion(Region):
    """Cells of a regular grid, the same for every image.

    Args:
        grid: Cells (down, across), or as many both ways.
        cells: (row, column) of each cell, from the top left (0, 0).
        arm: See `Region`.

    Raises:
        ValueError: If a cell is not in the grid.
    """

    def __init__(
        self,
        grid: int | tuple[int, int],
        cells: Sequence[Sequence[int]],
        arm: str = "inside",
    ) -> None:
        super().__init__(arm)
        self.grid = (grid, grid) if isinstance(grid, int) else (int(grid[0]), int(grid[1]))
        for cell in cells:
            if len(cell) != 2 or not all(
                0 <= place < count for place, count in zip(cell, self.grid, strict=True)
            ):
                raise ValueError(
                    f"explainer.region.cells: {list(cell)} is not in a grid of {self.grid}; "
                    "give pairs [row, column] from [0, 0]"
                )
        self.cells = [(int(row), int(column)) for row, column in cells]

    def inside(self, sample: Sample) -> Tensor:
        """See `Region.inside`."""
        h, w = sample.image.shape[-2:]
        rows = torch.arange(h) * self.grid[0] // h
        columns = torch.arange(w) * self.grid[1] // w
        chosen = torch.zeros(self.grid, dtype=torch.bool)
        for row, column in self.cells:
            chosen[row, column] = True
        return chosen[rows][:, columns].unsqueeze(0)
