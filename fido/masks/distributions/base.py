"""What every distribution of masks promises, and draws by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor

from fido.records import Sample
from fido.runtime.noise import image_seed

Rate = float | Sequence[float]
"""A keep rate in [0, 1], or the two ends of an interval on which every mask draws its own."""


class MaskDistribution(Protocol):
    """A distribution of random masks."""

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor | None:
        """Draw masks, every one with parameters of its own where a distribution has any.

        Args:
            n: Number of masks.
            size: (h, w) in pixels.
            generator: Source of all numbers; masks are on its device.
            photo: The image that is masked, for distributions that depend on it.

        Returns:
            (n, 1, h, w) bool, True keeps the pixel; None where the photo gives no such mask (no
            boxes).
        """
        ...


def sample_masks(
    distributions: Mapping[str, MaskDistribution], photo: Sample, n: int = 1, seed: int = 0
) -> dict[str, Tensor]:
    """Masks of one photo by distribution; distributions without a mask for it are missing.

    They depend on (seed, photo, name of the distribution) alone: every infiller gets the same ones,
    and they do not change when distributions are added.

    Args:
        distributions: Name to distribution.
        photo: The image.
        n: Masks a distribution.
        seed: Another seed draws other masks.

    Returns:
        Name to (n, 1, h, w) bool.
    """
    size = (int(photo.image.shape[-2]), int(photo.image.shape[-1]))
    masks = {}
    for name, distribution in distributions.items():
        generator = torch.Generator().manual_seed(image_seed(seed, photo.id, f"holes {name}"))
        keep = distribution.sample(n, size, generator, photo)
        if keep is not None:
            masks[name] = keep
    return masks


def sample_rate(keep: Rate, n: int, generator: Generator) -> Tensor | float:
    """A keep rate for each of n masks: (n, 1, 1, 1), or the number itself if there is only one."""
    if isinstance(keep, Sequence):
        return uniform(n, keep[0], keep[1], generator)
    return keep


def check_rate(keep: Rate) -> None:
    """Refuse keep rates outside [0, 1] or in the wrong order.

    Raises:
        ValueError: If it is neither a number in [0, 1] nor two of them in order.
    """
    ends = tuple(keep) if isinstance(keep, Sequence) else (keep, keep)
    if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 1:
        raise ValueError(
            "a keep rate is a number in [0, 1], or [low, high] with 0 <= low <= high <= 1; "
            f"got {keep}"
        )


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """(n, 1, 1, 1) float32, uniform on [low, high)."""
    values = torch.rand((n, 1, 1, 1), generator=generator, device=generator.device)
    return low + (high - low) * values


def choice(n: int, values: Sequence[int], generator: Generator) -> Tensor:
    """(n,) integers drawn from `values` with equal probability."""
    picked = torch.randint(len(values), (n,), generator=generator, device=generator.device)
    return torch.tensor(list(values), device=generator.device)[picked]


def photo_of(photo: Sample | None, distribution: str) -> Sample:
    """The photo of a distribution that needs one.

    Raises:
        ValueError: If there is none.
    """
    if photo is None:
        raise ValueError(f"masks of {distribution} depend on the photo; give sample(..., photo)")
    return photo
