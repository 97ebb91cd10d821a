"""Masks of a patch that slides over the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fido.records import Sample


@dataclass(frozen=True)
class SlidingPatches:
    """A square patch dropped at places of one row of a grid, one place a mask.

    Attributes:
        patch: Side of the patch in pixels.
        stride: Pixels from one place to the next.
        columns: Places in the row that the masks take in turn; those beyond the last one are at
            the last.
        row: Row of the grid; None is the middle one.

    Source: Agarwal and Nguyen 2020, Fig. 7: places 9, 24, 36, 44 and 53 of a row of 58.
    """

    patch: int = 53
    stride: int = 3
    columns: Sequence[int] = (9, 24, 36, 44, 53)
    row: int | None = None

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`; nothing is drawn.

        Raises:
            ValueError: If the patch does not fit into the image.
        """
        h, w = size
        if self.patch > min(h, w):
            raise ValueError(f"a patch of {self.patch} pixels does not fit into {h} x {w}")
        rows, columns = ((side - self.patch) // self.stride + 1 for side in size)
        top = self.stride * (rows // 2 if self.row is None else min(self.row, rows - 1))
        keep = torch.ones(n, 1, h, w, dtype=torch.bool, device=generator.device)
        for i in range(n):
            column = min(self.columns[i % len(self.columns)], columns - 1)
            left = self.stride * column
            keep[i, :, top : top + self.patch, left : left + self.patch] = False
        return keep
