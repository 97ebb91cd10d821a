"""Any pixel may change."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.diffusion.regions.base import Region
from fido.records import Sample


class Everywhere(Region):
    """The whole image; it has no other arms."""

    def __init__(self) -> None:
        super().__init__("inside")

    def inside(self, sample: Sample) -> Tensor:
        """See `Region.inside`."""
        return torch.ones(1, *sample.image.shape[-2:], dtype=torch.bool)

    def of(self, sample: Sample, seed: int = 0) -> Tensor:
        """See `Region.of`."""
        return self.inside(sample)
