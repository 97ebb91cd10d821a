"""What every denoiser promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor, nn

from fido.diffusion.lift import residual_lift, resized
from fido.diffusion.schedule import x0_from_noise


class Denoiser(nn.Module, ABC):
    """Estimates the noise in an image of a diffusion process.

    Images outside are RGB in [0, 1]; the diffusion process lives on the scale [-1, 1], with
    `x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise`. `encode` and `decode` go from one to
    the other. The classifier may work at another size than the denoiser: see `lift`.

    Args:
        size: (h, w) of the images that the denoiser takes.
        lowest_alpha_bar: Least share of the signal in the variance at which it is of use.
        lift: "residual" or "replace"; see `lift`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, size: tuple[int, int], lowest_alpha_bar: float = 0.0, lift: str = "residual"
    ) -> None:
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"denoiser.size must be (h, w) of 1 or more, got {size}")
        if not 0 <= lowest_alpha_bar < 1:
            raise ValueError(f"denoiser.lowest_alpha_bar must be in [0, 1), got {lowest_alpha_bar}")
        if lift not in ("residual", "replace"):
            raise ValueError(f"denoiser.lift must be residual or replace, got {lift!r}")
        self.size = (size[0], size[1])
        self.lowest_alpha_bar = lowest_alpha_bar
        self.lift_mode = lift

    @abstractmethod
    def noise(
        self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None
    ) -> Tensor:
        """Estimates of the noise; gradients flow to `x_t`.

        Args:
            x_t: (n, 3, h, w) noisy images on the scale [-1, 1].
            alpha_bar: A number or (n,) in (0, 1): share of the signal in the variance.
            classes: (n,) class indices of the classifier; -1, or one that the denoiser does not
                know, is no class. None is no class for all.

        Returns:
            (n, 3, h, w), about standard normal.
        """

    def x0(self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None) -> Tensor:
        """(n, 3, h, w) estimates of the images without noise, on the scale [-1, 1], not clamped.

        Args:
            x_t: See `noise`.
            alpha_bar: See `noise`.
            classes: See `noise`.
        """
        return x0_from_noise(x_t, alpha_bar, self.noise(x_t, alpha_bar, classes))

    def estimate(self, x_t: Tensor, alpha_bar: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """The estimate `x0` for no class, and where the variance of the step back is.

        Returns:
            (n, 3, h, w), and (n, 3, h, w) from -1 to 1 as in
            `fido.diffusion.schedule.learned_variance`, or None for the posterior's variance.
        """
        return self.x0(x_t, alpha_bar), None

    def knows(self, classes: Tensor) -> Tensor:
        """(n,) bool: of which of the classifier's classes (n,) the denoiser has a notion."""
        return torch.zeros_like(classes, dtype=torch.bool)

    def of_classes(self, names: Sequence[str]) -> Self:
        """This denoiser, with the same weights, for a classifier that calls its classes so.

        A copy, because another classifier may use the denoiser, too.

        Args:
            names: See `name_classes`.
        """
        other = copy(self)
        other._buffers = dict(self._buffers)
        other.name_classes(names)
        return other

    def name_classes(self, names: Sequence[str]) -> None:
        """Learn what the classifier calls its classes; see `knows`.

        Args:
            names: One a class, in the order of the classifier's outputs.
        """

    @staticmethod
    def encode(image: Tensor) -> Tensor:
        """[0, 1] -> [-1, 1]."""
        return image * 2 - 1

    @staticmethod
    def decode(x0: Tensor) -> Tensor:
        """[-1, 1] -> [0, 1], clamped."""
        return (x0 / 2 + 0.5).clamp(0, 1)

    def shrink(self, image: Tensor) -> Tensor:
        """(n, 3, *size) in [0, 1]: images (n, 3, h, w) in [0, 1] at the denoiser's size.

        Bicubic with antialiasing, clamped; unchanged where the size is the denoiser's.
        """
        return resized(image, self.size).clamp(0, 1)

    def lift(self, image: Tensor, x0: Tensor) -> Tensor:
        """What the change that the denoiser made is at the size of the image.

        "residual" adds the enlarged change to the image, see `residual_lift`. "replace" enlarges
        x0, so that details are lost which the denoiser does not see.

        Args:
            image: (n, 3, h, w) in [0, 1], as it was.
            x0: (n, 3, *size) in [0, 1], an estimate in place of `shrink(image)`.

        Returns:
            (n, 3, h, w) in [0, 1]; gradients flow to `x0`.
        """
        if self.lift_mode == "replace":
            return resized(x0, (image.shape[-2], image.shape[-1])).clamp(0, 1)
        return residual_lift(image, x0)
