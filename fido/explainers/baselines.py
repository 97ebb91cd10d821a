"""Baselines: maps that use no network, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.explainers.base import target_of
from fido.records import Explanation, Sample
from fido.runtime.checks import check_at_least
from fido.runtime.noise import ImageNoise


class Full:
    """Return 1 everywhere: the whole image is the region.

    Source: Chang et al. 2019, table 1 ("Max").
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; uses no network."""
        return [
            Explanation(
                id=sample.id,
                target=target_of(sample),
                saliency=torch.ones(1, *sample.image.shape[-2:]),
                cost={"forward": 0, "backward": 0, "infill": 0},
            )
            for sample in samples
        ]


class Center:
    """Return 1 inside a centred box of the image's shape, 0 outside.

    Args:
        area: Share of the image that the box covers, in (0, 1].

    Raises:
        ValueError: If `area` is out of range.

    Source: Chang et al. 2019, table 1 ("Center").
    """

    def __init__(self, area: float = 0.4975) -> None:
        if not 0 < area <= 1:
            raise ValueError(f"explainer.area must lie in (0, 1], got {area}")
        self.area = area

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; uses no network."""
        explanations = []
        for sample in samples:
            h, w = sample.image.shape[-2:]
            top, left = (round(side * (1 - self.area**0.5) / 2) for side in (h, w))
            saliency = torch.zeros(1, h, w)
            saliency[:, top : h - top, left : w - left] = 1
            explanations.append(
                Explanation(
                    id=sample.id,
                    target=target_of(sample),
                    saliency=saliency,
                    cost={"forward": 0, "backward": 0, "infill": 0},
                )
            )
        return explanations


class GroundTruthBox:
    """Return 1 inside the sample's boxes, 0 outside; a sample without boxes has no explanation.

    Source: Chang et al. 2019, table 1 ("BBox").
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; uses no network."""
        return [
            Explanation(
                id=sample.id,
                target=target_of(sample),
                saliency=box_map(sample.boxes, (sample.image.shape[-2], sample.image.shape[-1])),
                cost={"forward": 0, "backward": 0, "infill": 0},
                failure=None if sample.boxes is not None else "the sample has no boxes",
            )
            for sample in samples
        ]


class RandomMap:
    """Return uniform random numbers in [0, 1), one per cell; half of the cells are the region.

    Args:
        grid: Cells per side, bilinearly upsampled; None draws every pixel.
        seed: Seed of the random numbers.

    Raises:
        ValueError: If `grid` is below 1.
    """

    def __init__(self, grid: int | None = None, seed: int = 0) -> None:
        check_at_least(1, "explainer", grid=grid)
        self.grid = grid
        self.seed = seed

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; uses no network."""
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


def box_map(boxes: Tensor | None, size: tuple[int, int]) -> Tensor:
    """(1, h, w) ones at pixels whose centre lies in a box xmin, ymin, xmax, ymax, else zeros."""
    region = torch.zeros(size, dtype=torch.bool)
    y = (torch.arange(size[0]) + 0.5).unsqueeze(1)
    x = (torch.arange(size[1]) + 0.5).unsqueeze(0)
    for left, top, right, bottom in () if boxes is None else boxes.tolist():
        region |= (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return region.float().unsqueeze(0)
