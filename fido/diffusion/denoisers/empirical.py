"""The exact denoiser of a finite set of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fido.data.base import PhotoSource
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.schedule import noise_from_x0


class EmpiricalDenoiser(Denoiser):
    """Knows all images there are: x_0 is one of a list, blurred by a Gaussian of given width.

    The estimate of x_0 is its expectation given x_t, in closed form: with
    `s^2 = 1 - alpha_bar + alpha_bar h^2`, weights `softmax(-|x_t - sqrt(alpha_bar) x_i|^2 / 2 s^2)`
    over the images x_i and m their weighted mean,
    `x_0 = m + sqrt(alpha_bar) h^2 / s^2 (x_t - sqrt(alpha_bar) m)`.

    Nothing is trained, so whatever is built on a denoiser can be tested exactly. With h = 0 and
    little noise it returns the nearest image of the list.

    Args:
        images: (m, 3, h, w) in [0, 1].
        labels: (m,) class index of each; given a class, only its images count. None: no classes.
        bandwidth: h, standard deviation of the Gaussian in units of the scale [-1, 1].
        lift: See `Denoiser`.
        grey: The images and the Gaussian are the same in all three colours: so is the estimate.
            Then x_t is known as its mean over colours, with a third of the noise's variance.

    Raises:
        ValueError: If there are no images, one label each is missing, or the bandwidth is negative.
    """

    images: Tensor
    labels: Tensor

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | Sequence[int] | None = None,
        bandwidth: float = 0.0,
        lift: str = "residual",
        grey: bool = False,
    ) -> None:
        if images.ndim != 4 or not len(images):
            raise ValueError(f"images must be (m, 3, h, w) with m >= 1, got {tuple(images.shape)}")
        if bandwidth < 0:
            raise ValueError(f"denoiser.bandwidth must be 0 or more, got {bandwidth}")
        super().__init__((images.shape[-2], images.shape[-1]), lift=lift)
        known = torch.full((len(images),), -1) if labels is None else torch.as_tensor(labels)
        if known.shape != (len(images),):
            raise ValueError(f"{len(images)} images need as many labels, got {tuple(known.shape)}")
        self.bandwidth = bandwidth
        self.grey = grey
        # Distances are differences of large numbers where there is little noise.
        self.register_buffer("images", self.encode(images.double()))
        self.register_buffer("labels", known)

    def noise(
        self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None
    ) -> Tensor:
        """See `Denoiser.noise`."""
        x = x_t.double()
        level = torch.as_tensor(alpha_bar, dtype=x.dtype, device=x.device)
        return noise_from_x0(x, level, self._expected(x, level, classes)).to(x_t.dtype)

    def x0(self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None) -> Tensor:
        """See `Denoiser.x0`."""
        x = x_t.double()
        level = torch.as_tensor(alpha_bar, dtype=x.dtype, device=x.device)
        return self._expected(x, level, classes).to(x_t.dtype)

    def knows(self, classes: Tensor) -> Tensor:
        """See `Denoiser.knows`."""
        return torch.isin(classes, self.labels[self.labels >= 0])

    def _expected(self, x: Tensor, alpha_bar: Tensor, classes: Tensor | None) -> Tensor:
        seen, known = x, self.images
        if self.grey:
            seen, known = x.mean(1, keepdim=True), known.mean(1, keepdim=True)
        flat, images = seen.flatten(1), known.flatten(1)
        signal = alpha_bar.expand(len(x))[:, None]
        spread = (1 - signal) / (3 if self.grey else 1) + signal * self.bandwidth**2
        # |x_t|^2 is the same for all images and cancels in the softmax.
        product = flat @ images.T
        score = (signal.sqrt() * product - signal * images.square().sum(1) / 2) / spread
        if classes is not None:
            score = score.masked_fill(~self._allowed(classes.to(x.device)), -torch.inf)
        mean = score.softmax(1) @ images
        estimate = mean + signal.sqrt() * self.bandwidth**2 / spread * (flat - signal.sqrt() * mean)
        return estimate.view_as(seen).expand_as(x)

    def _allowed(self, classes: Tensor) -> Tensor:
        """(n, m) which images count: those of the class, or all where the class is not known."""
        return (classes[:, None] == self.labels) | ~self.knows(classes)[:, None]


def empirical_denoiser(
    source: PhotoSource, bandwidth: float = 0.0, lift: str = "residual", grey: bool = False
) -> EmpiricalDenoiser:
    """The exact denoiser of all images of a source, at the source's size.

    Args:
        source: Its labels, where all images have one, are the classes.
        bandwidth: See `EmpiricalDenoiser`.
        lift: See `Denoiser`.
        grey: See `EmpiricalDenoiser`.
    """
    samples: list[Any] = [source.load(entry) for entry in source.selected()]
    labels = [sample.label for sample in samples]
    known = None if None in labels else labels
    images = torch.stack([sample.image for sample in samples])
    return EmpiricalDenoiser(images, known, bandwidth, lift, grey)
