"""Baseline: the boxes that people drew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fido.explainers.sample_batch import target_of
from fido.records import Explanation, Sample


class GroundTruthBox:
    """1 inside the sample's boxes, 0 outside; a sample without boxes has no explanation.

    Source: Chang et al. 2019, table 1 ("BBox").
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; asks no network."""
        return [
            Explanation(
                id=sample.id,
                target=target_of(sample),
                saliency=inside(sample.boxes, (sample.image.shape[-2], sample.image.shape[-1])),
                cost={"forward": 0, "backward": 0, "infill": 0},
                failure=None if sample.boxes is not None else "the sample has no boxes",
            )
            for sample in samples
        ]


def inside(boxes: Tensor | None, size: tuple[int, int]) -> Tensor:
    """(1, h, w) ones at pixels whose centre lies in a box xmin, ymin, xmax, ymax, else zeros."""
    region = torch.zeros(size, dtype=torch.bool)
    y = (torch.arange(size[0]) + 0.5).unsqueeze(1)
    x = (torch.arange(size[1]) + 0.5).unsqueeze(0)
    for left, top, right, bottom in () if boxes is None else boxes.tolist():
        region |= (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return region.float().unsqueeze(0)
