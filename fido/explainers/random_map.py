"""Baseline: noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F

from fido.explainers.sample_batch import target_of
from fido.records import Explanation, Sample
from fido.runtime.noise import ImageNoise


class RandomMap:
    """Independent uniform numbers in [0, 1), one a cell; half of the cells are the region.

    Args:
        grid: Cells a side, bilinearly upsampled; None draws every pixel.
        seed: Of the random numbers.

    Raises:
        ValueError: If `grid` is below 1.
    """

    def __init__(self, grid: int | None = None, seed: int = 0) -> None:
        if grid is not None and grid < 1:
            raise ValueError(f"explainer.grid must be 1 or more, or null, got {grid}")
        self.grid = grid
        self.seed = seed

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; asks no network."""
        explanations = []
        for sample in samples:
            h, w = sample.image.shape[-2:]
            rows, columns = (self.grid, self.grid) if self.grid else (h, w)
            cells = ImageNoise(self.seed, [sample.id], "random_map").uniform(1, 1, rows, columns)
            explanations.append(
                Explanation(
                    id=sample.id,
                    target=target_of(sample),
                    saliency=F.interpolate(cells, (h, w), mode="bilinear")[0],
                    cost={"forward": 0, "backward": 0, "infill": 0},
                )
            )
        return explanations
