"""A mixture of distributions of masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from fido.masks.distributions.base import MaskDistribution
from fido.records import Sample


class Mixture:
    """One of several distributions for every mask, with given probabilities.

    Args:
        distributions: The distributions by name.
        weights: Relative weight of each; the same names.

    Raises:
        ValueError: If the names differ or a weight is negative.
    """

    def __init__(
        self, distributions: Mapping[str, MaskDistribution], weights: Mapping[str, float]
    ) -> None:
        if set(distributions) != set(weights) or min(weights.values()) < 0:
            raise ValueError(
                "every distribution needs one weight >= 0: distributions "
                f"{sorted(distributions)}, weights {dict(weights)}"
            )
        self.distributions = dict(distributions)
        self.weights = torch.tensor([float(weights[name]) for name in self.distributions])

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor:
        """See `MaskDistribution.sample`.

        Raises:
            ValueError: If a distribution has no mask for the photo.
        """
        weights = self.weights.to(generator.device)
        which = torch.multinomial(weights, n, replacement=True, generator=generator)
        keep = torch.empty((n, 1, *size), dtype=torch.bool, device=generator.device)
        for index, (name, distribution) in enumerate(self.distributions.items()):
            rows = (which == index).nonzero().squeeze(1)
            if len(rows):
                masks = distribution.sample(len(rows), size, generator, photo)
                if masks is None:
                    raise ValueError(f"{name} has no mask for this photo, so the mixture has none")
                keep[rows] = masks
        return keep
