"""Baseline: a box in the middle of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fido.explainers.sample_batch import target_of
from fido.records import Explanation, Sample


class Center:
    """1 inside a centred box of the image's shape, 0 outside.

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
        """See `Explainer.explain`; asks no network."""
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
