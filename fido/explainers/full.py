"""Baseline: everything is evidence."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fido.explainers.sample_batch import target_of
from fido.records import Explanation, Sample


class Full:
    """1 everywhere: the whole image is the region.

    Source: Chang et al. 2019, table 1 ("Max").
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; asks no network."""
        return [
            Explanation(
                id=sample.id,
                target=target_of(sample),
                saliency=torch.ones(1, *sample.image.shape[-2:]),
                cost={"forward": 0, "backward": 0, "infill": 0},
            )
            for sample in samples
        ]
