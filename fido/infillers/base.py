"""The base class of infillers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from fido.runtime.noise import ImageNoise


class Infiller(nn.Module, ABC):
    """Propose pixels for the places that a mask drops.

    An infiller never composes: `fido.masks.concrete.composite` mixes its proposal with the image,
    once. It carries no gradient, and what it proposes for a dropped pixel depends on kept pixels
    only (`blur`, which sees the whole image, is the documented exception).
    """

    one_proposal: bool = False
    """Whether the proposal for an image is the same for every mask and every call."""

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


def per_mask(per_image: Tensor, repeats: int) -> Tensor:
    """Repeat (b, c, h, w) to (b * repeats, c, h, w), without a copy if there is one image."""
    b, *rest = per_image.shape
    return per_image.unsqueeze(1).expand(b, repeats, *rest).reshape(b * repeats, *rest)
