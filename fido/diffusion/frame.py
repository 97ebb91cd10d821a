"""Photos that shall be taken for other classes, as they are and at a denoiser's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.lift import to_8_bits
from fido.runtime.noise import ImageNoise


@dataclass(frozen=True, eq=False)
class Problem:
    """b photos, each with a class to reach and the pixels that may change.

    Attributes:
        ids: The b ids.
        image: (b, 3, h, w) in [0, 1].
        target: (b,) class indices to reach.
        source: (b,) class indices that the photos are taken for.
        region: (b, 1, h, w) bool: pixels that may change.
        seed: Of the run.
    """

    ids: list[str]
    image: Tensor
    target: Tensor
    source: Tensor
    region: Tensor
    seed: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, indices: Sequence[int]) -> Problem:
        """Some of the photos."""
        index = torch.tensor(list(indices), device=self.image.device)
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            image=self.image[index],
            target=self.target[index],
            source=self.source[index],
            region=self.region[index],
        )

    def noise(self, purpose: str, *shape: int) -> Tensor:
        """(b, *shape) standard normal numbers that belong to each image and purpose.

        They depend on seed, image and purpose, never on method, target or settings: so a
        counterfactual and its control without guidance see the same noise. They are drawn on the
        CPU, where the numbers are the same on every machine.
        """
        return ImageNoise(self.seed, self.ids, purpose).normal(1, *shape).to(self.image.device)

    def paste(self, image: Tensor, weight: Tensor | None = None) -> Tensor:
        """Images inside of the region, the photos outside, there bit for bit.

        Args:
            image: (b, 3, h, w) in [0, 1]; gradients flow to it.
            weight: (b, 1, h, w) in [0, 1], how much of the change inside is taken; None: all.
        """
        if weight is not None:
            image = self.image + weight * (image - self.image)
        return torch.where(self.region, image, self.image)


class Frame:
    """A problem at the denoiser's size, on the scale [-1, 1], and the way back.

    Args:
        problem: The photos.
        denoiser: Whose size it is.

    Attributes:
        photo: (b, 3, *size) the photos on the scale [-1, 1].
        region: (b, 1, *size) in {0, 1}: 1 where any of a pixel's part of the photo may change.
    """

    def __init__(self, problem: Problem, denoiser: Denoiser) -> None:
        self.problem = problem
        self.denoiser = denoiser
        self.photo = denoiser.encode(denoiser.shrink(problem.image))
        self.region = F.adaptive_max_pool2d(problem.region.float(), denoiser.size)

    def noise(self, purpose: str) -> Tensor:
        """(b, 3, *size) standard normal numbers; see `Problem.noise`."""
        return self.problem.noise(purpose, 3, *self.denoiser.size)

    def image_of(self, x0: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, 3, h, w) in [0, 1] what the classifier sees of an estimate.

        Args:
            x0: (b, 3, *size) on the scale [-1, 1]; gradients flow to it.
            mask: (b, 1, *size) in [0, 1]: where the change is taken, beside the region.
        """
        lifted = self.denoiser.lift(self.problem.image, self.denoiser.decode(x0))
        if mask is None:
            return self.problem.paste(lifted)
        size = lifted.shape[-2:]
        if mask.shape[-2:] != size:
            mask = F.interpolate(mask, size, mode="bilinear")
        return self.problem.paste(lifted, mask)

    def small_image_of(self, x0: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, 3, *size) uint8: what the classifier sees of an estimate, at the denoiser's size."""
        return to_8_bits(self.denoiser.shrink(self.image_of(x0, mask)))
