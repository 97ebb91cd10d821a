"""Random numbers that belong to an image, so that a map does not depend on its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def image_seed(seed: int, image_id: str, purpose: str) -> int:
    """A 63-bit seed, the same in every process, on every machine and in every batch."""
    text = f"{seed}\0{purpose}\0{image_id}"  # ids may hold bytes that are no UTF-8
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class ImageNoise:
    """One random generator an image, drawn from for all of its rows at once.

    Rows are ordered image by image: row `r` of `b * rows` belongs to image `r // rows`. What one
    image receives is the same whether it is alone or in a batch.

    Args:
        seed: The run's seed.
        ids: Ids of the b images of the batch.
        purpose: What the numbers are for ("mask", "infill", ...): streams of different purpose
            are independent, so that changing the infiller leaves the masks' noise as it was.
        device: Where the numbers are drawn; CPU and CUDA streams differ.
    """

    def __init__(
        self,
        seed: int,
        ids: Sequence[str],
        purpose: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._generators = [
            torch.Generator(self.device).manual_seed(image_seed(seed, image_id, purpose))
            for image_id in ids
        ]

    def of(self, images: Sequence[int]) -> ImageNoise:
        """The numbers of some of the images, in this order; both draw from the same generators."""
        some = ImageNoise(0, (), "", self.device)
        some._generators = [self._generators[image] for image in images]
        return some

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """(b * rows, *shape) float32 numbers, uniform on [0, 1)."""
        return torch.cat(
            [
                torch.rand((rows, *shape), generator=generator, device=self.device)
                for generator in self._generators
            ]
        )

    def normal(self, rows: int, *shape: int) -> Tensor:
        """(b * rows, *shape) float32 standard normal numbers."""
        return torch.cat(
            [
                torch.randn((rows, *shape), generator=generator, device=self.device)
                for generator in self._generators
            ]
        )
