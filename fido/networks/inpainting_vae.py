"""Image completion by a variational autoencoder with a spatial latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.networks.push_pull import push_pull
from fido.networks.vae_layers import PaperLayer, PaperUp, ResidualLayer, ResidualUp

LATENT_LOG_VARIANCE = (-10.0, 2.0)
"""Bounds of the posterior's log-variance, which its exponential needs."""

DETAIL = 6.0
"""Gain on differences inside a patch: they are a tenth of the colours, and as important."""

CORRECTION = 0.2
"""Gain on the correction of the prefill, whose errors are about that large."""


class Completion(NamedTuple):
    """Predictions for an image of which a part was dropped.

    Attributes:
        mean: (n, 3, h, w) predictive mean of every pixel, about [0, 1], not clamped.
        log_variance: (n, 3, h, w) predictive log-variance, bounded.
        latent_mean: (n, c, h', w') mean of the posterior.
        latent_log_variance: (n, c, h', w') log-variance of the posterior, bounded.
    """

    mean: Tensor
    log_variance: Tensor
    latent_mean: Tensor
    latent_log_variance: Tensor


class InpaintingVAE(nn.Module):
    """Encoder to a spatial latent, decoder to a Gaussian for every pixel.

    The input is the image without its dropped pixels and the hole plane 1 - keep. Subclasses say
    which layers it is made of: `PaperVAE` and `ResidualVAE`.

    Args:
        layer: Class of the layers that keep the resolution or halve it.
        up: Class of the layers that double the resolution.
        stem: First layer, from 4 * patch^2 planes to `channels[0]`.
        activation: Applied before the convolutions that give the posterior and the prediction.
        gain: Of the initial weights of all convolutions: keeps the variance through the layers.
        channels: Channels at the finest resolution and at every halving of it.
        latent: Channels of the latent, at the coarsest resolution.
        dilations: One layer at the coarsest resolution for each.
        head: Channels before the last convolution.
        patch: Side of the pixel blocks that enter and leave as one place (1: the pixels).
        prefill: Dropped pixels enter as push-pull averages of kept ones instead of black, and the
            predictive mean is a correction of that prefill.
        skips: The decoder also sees the encoder's features of the same resolution.
        log_variance: Lowest and highest predictive log-variance. Unbounded, as in the paper, the
            likelihood of a flat region grows without limit and single steps explode.

    Attributes:
        stride: Sides of the input must be multiples of this many pixels.

    Raises:
        ValueError: If the bounds of the log-variance are not in order.
    """

    def __init__(
        self,
        layer: type[PaperLayer] | type[ResidualLayer],
        up: type[PaperUp] | type[ResidualUp],
        stem: nn.Module,
        activation: nn.Module,
        gain: float,
        channels: Sequence[int],
        latent: int,
        dilations: Sequence[int],
        head: int,
        patch: int,
        prefill: bool,
        skips: bool,
        log_variance: tuple[float, float],
    ) -> None:
        super().__init__()
        if log_variance[0] >= log_variance[1]:
            raise ValueError(f"vae.log_variance must be (lowest, highest), got {log_variance}")
        self.patch = patch
        self.prefill = prefill
        self.skips = skips
        self.log_variance = (log_variance[0], log_variance[1])
        self.latent = latent
        self.stride = patch * 2 ** (len(channels) - 1)
        coarsest = channels[-1]
        self.stem = stem
        self.activation = activation
        self.down = nn.ModuleList(
            nn.Sequential(layer(before, after, stride=2), layer(after, after))
            for before, after in pairwise(channels)
        )
        self.middle = nn.Sequential(*(layer(coarsest, coarsest, dilation=d) for d in dilations))
        self.posterior = nn.Conv2d(coarsest, 2 * latent, 3, padding=1)
        self.enter = nn.Sequential(layer(latent, coarsest), layer(coarsest, coarsest))
        self.up = nn.ModuleList(
            up(before, after)
            for before, after in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        widths = [*channels[-2:0:-1], head]
        self.refine = nn.ModuleList(
            layer(before, after) for before, after in zip(channels[-2::-1], widths, strict=True)
        )
        self.predict = nn.Conv2d(head, 6 * patch**2, 3, padding=1)
        self._initialise(gain)

    def _initialise(self, gain: float) -> None:
        """Keep the variance through the layers; the prediction starts as the prefill or grey."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                module.weight.data.mul_(gain)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, ResidualLayer) and module.second is not None:
                module.second.weight.data.mul_(0.2)
        nn.init.zeros_(self.predict.weight)

    def latent_shape(self, h: int, w: int) -> tuple[int, int, int]:
        """Channels, rows and columns of the latent of an (h, w) image.

        Raises:
            ValueError: If the sides are no multiples of `stride`.
        """
        if h % self.stride or w % self.stride:
            raise ValueError(f"sides must be multiples of {self.stride} pixels, got {h} x {w}")
        return self.latent, h // self.stride, w // self.stride

    def complete(self, image: Tensor, keep: Tensor, noise: Tensor | None = None) -> Completion:
        """Encode, take a latent, decode.

        Args:
            image: (n, 3, h, w) in [0, 1], sides multiples of `stride`. Dropped pixels have no
                influence.
            keep: (n, 1, h, w) of zeros and ones, 1 keeps.
            noise: (n, *latent_shape) standard normal numbers for a sample of the latent; None
                takes its mean.
        """
        self.latent_shape(*image.shape[-2:])
        shown = push_pull(image, keep, 4.0, 4) if self.prefill else image * keep
        # The paper's network is told where the hole is, not what is kept.
        planes = torch.cat([2 * shown - 1 if self.prefill else shown, 1 - keep], 1)
        x = self.stem(self._unshuffle(planes))
        features = [x]
        for down in self.down:
            x = down(x)
            features.append(x)
        mean, raw = self.posterior(self.activation(self.middle(x))).chunk(2, 1)
        log_variance = bounded(raw, *LATENT_LOG_VARIANCE)
        x = self.enter(mean if noise is None else mean + torch.exp(log_variance / 2) * noise)
        for up, refine, feature in zip(self.up, self.refine, features[-2::-1], strict=True):
            x = up(x)
            x = refine(x + feature if self.skips else x)
        predicted = F.pixel_shuffle(self.predict(self.activation(x)), self.patch)
        base, gain = (shown, CORRECTION) if self.prefill else (0.5, 1.0)
        return Completion(
            base + gain * predicted[:, :3],
            bounded(predicted[:, 3:], *self.log_variance),
            mean,
            log_variance,
        )

    def _unshuffle(self, planes: Tensor) -> Tensor:
        """(n, 4, h, w) -> (n, 4 * patch^2, h / patch, w / patch), each of about unit size."""
        inside = F.pixel_unshuffle(planes, self.patch)
        if self.patch == 1:
            return inside
        n, _, h, w = inside.shape
        pixels = inside.reshape(n, 4, self.patch**2, h, w)
        colours = pixels[:, :3]
        means = colours.mean(2, keepdim=True)
        # The first pixel's place holds the mean; its own difference follows from the others'.
        detail = torch.cat([means, DETAIL * (colours - means)[:, :, 1:]], 2)
        return torch.cat([detail, pixels[:, 3:]], 1).flatten(1, 2)

    def forward(self, image: Tensor, keep: Tensor) -> Tensor:
        """(n, 3, h, w) predictive mean at the mean latent; arguments as of `complete`."""
        return self.complete(image, keep).mean


class PaperVAE(InpaintingVAE):
    """The network of the FIDO paper: convolution, ReLU and batch normalisation in every layer.

    4 -> 64 (5 x 5), 128 / 2, 128, 256 / 2, 256, 256, 256 dilated by 2, 4, 8 and 16, 512 = latent
    means and log-variances; back by 256, 256, 128 x 2, 128, 64 x 2, 32, 6 = pixel means and
    log-variances.

    Args:
        channels: See `InpaintingVAE`.
        latent: See `InpaintingVAE`.
        dilations: See `InpaintingVAE`.
        stem_kernel: Side of the first convolution, odd.
        head: See `InpaintingVAE`.
        log_variance: See `InpaintingVAE`.

    Raises:
        ValueError: If the bounds of the log-variance are not in order.

    Source: Iizuka et al. 2017 (layers); Chang et al. 2019, appendix (VAE); the bounds are our own.
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256),
        latent: int = 256,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        stem_kernel: int = 5,
        head: int = 32,
        log_variance: tuple[float, float] = (-7.0, 1.0),
    ) -> None:
        super().__init__(
            layer=PaperLayer,
            up=PaperUp,
            stem=PaperLayer(4, channels[0], stem_kernel),
            activation=nn.Identity(),
            gain=math.sqrt(2),
            channels=channels,
            latent=latent,
            dilations=dilations,
            head=head,
            patch=1,
            prefill=False,
            skips=False,
            log_variance=log_variance,
        )


class ResidualVAE(InpaintingVAE):
    """Residual layers without normalisation: far quicker to train in small batches.

    The defaults are the network that ships; docs/models/vae.md has what was measured.

    Args:
        channels: See `InpaintingVAE`.
        latent: See `InpaintingVAE`.
        dilations: See `InpaintingVAE`.
        stem_kernel: Side of the first convolution, odd.
        head: See `InpaintingVAE`.
        patch: See `InpaintingVAE`.
        prefill: See `InpaintingVAE`.
        skips: See `InpaintingVAE`.
        log_variance: See `InpaintingVAE`.

    Raises:
        ValueError: If the bounds of the log-variance are not in order.
    """

    def __init__(
        self,
        channels: Sequence[int] = (40, 80, 128),
        latent: int = 64,
        dilations: Sequence[int] = (1, 2, 4),
        stem_kernel: int = 3,
        head: int = 40,
        patch: int = 4,
        prefill: bool = True,
        skips: bool = True,
        log_variance: tuple[float, float] = (-7.0, 1.0),
    ) -> None:
        super().__init__(
            layer=ResidualLayer,
            up=ResidualUp,
            stem=nn.Conv2d(4 * patch**2, channels[0], stem_kernel, padding=stem_kernel // 2),
            activation=nn.SiLU(),
            gain=1.2,
            channels=channels,
            latent=latent,
            dilations=dilations,
            head=head,
            patch=patch,
            prefill=prefill,
            skips=skips,
            log_variance=log_variance,
        )


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """Squash numbers smoothly into (low, high); 0 goes to the middle, where the slope is 1."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * torch.tanh(x / half)
