"""The base class of infillers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fido.runtime.noise import ImageNoise


class Infiller(nn.Module, ABC):
    """Propose pixels for the places that a mask drops.

    `fido.masks.concrete.composite` mixes its proposal with the image, once. It carries no gradient,
    and what it proposes for a dropped pixel depends on kept pixels only (`blur`, which sees the
    whole image, is the documented exception). A learned infiller proposes the image itself for kept
    pixels (`keep_known`), as the wrapper of the 2018 FIDO code does: under a soft mask anything
    else would leak the network's reconstruction into kept pixels.
    """

    one_proposal: bool = False
    """Whether the proposal for an image is the same for every mask and every call."""

    sees_mask: bool = True
    """Whether the proposal depends on the mask; without it the mask changes nothing but the mix."""

    needs_noise: bool = False
    """Whether `infill` draws random numbers and therefore must be given `noise`."""

    @abstractmethod
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """Return proposals for all pixels of every mask.

        Args:
            image: (b, 3, h, w) RGB in [0, 1].
            keep: (b * s, 1, h, w) of zeros and ones: 1 keeps the pixel, 0 drops it. The s masks of
                an image follow each other: row r belongs to image r // s.
            noise: The images' random numbers, for infillers with `needs_noise`.

        Returns:
            (b * s, 3, h, w) RGB in [0, 1], detached; may be an expanded view.
        """

    @staticmethod
    def repeats(image: Tensor, keep: Tensor) -> int:
        """Return the number s of masks per image.

        Raises:
            ValueError: If the shapes do not fit together.
        """
        b, n = image.shape[0], keep.shape[0]
        if n % b or keep.shape[1] != 1 or keep.shape[-2:] != image.shape[-2:]:
            raise ValueError(
                f"keep must be (b * s, 1, h, w) for an image (b, 3, h, w); "
                f"got keep {tuple(keep.shape)} for image {tuple(image.shape)}"
            )
        return n // b


def keep_known(fill: Tensor, image: Tensor, keep: Tensor) -> Tensor:
    """The fill where pixels were dropped, and the image, bit for bit, where they were kept.

    Args:
        fill: (n, 3, h, w).
        image: (n, 3, h, w).
        keep: (n, 1, h, w) of zeros and ones, 1 keeps.
    """
    return torch.where(keep > 0.5, image, fill)


def per_mask(per_image: Tensor, repeats: int) -> Tensor:
    """Repeat (b, c, h, w) to (b * repeats, c, h, w), without a copy if there is one image."""
    b, *rest = per_image.shape
    return per_image.unsqueeze(1).expand(b, repeats, *rest).reshape(b * repeats, *rest)
