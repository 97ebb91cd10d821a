"""Samples side by side, as the networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fido.records import Sample


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """What of b samples goes through networks.

    Attributes:
        ids: The b ids.
        image: (b, 3, h, w) in [0, 1].
        target: (b,) class indices.
    """

    ids: list[str]
    image: Tensor
    target: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        return self.image.shape[-2], self.image.shape[-1]


def collate(samples: Sequence[Sample], device: torch.device) -> SampleBatch:
    """Samples of one image size, each with its target, on the device of the classifier.

    Raises:
        ValueError: If a sample has no target or another size than the first.
    """
    for sample in samples:
        if sample.image.shape != samples[0].image.shape:
            raise ValueError(
                f"samples of one batch must be of one size; {sample.id!r} is "
                f"{tuple(sample.image.shape)}, the first is {tuple(samples[0].image.shape)}"
            )
    return SampleBatch(
        ids=[sample.id for sample in samples],
        image=torch.stack([sample.image for sample in samples]).to(device),
        target=torch.tensor([target_of(sample) for sample in samples], device=device),
    )


def target_of(sample: Sample) -> int:
    """The class index to explain.

    Raises:
        ValueError: If it is not set.
    """
    if sample.target is None:
        raise ValueError(f"sample {sample.id!r} has no target; see fido.runs.target.resolve_target")
    return sample.target
