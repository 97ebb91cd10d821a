"""A small U-Net that removes Gaussian noise from photos, on patches instead of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 16
"""Sines, and as many cosines, that describe the noise level."""
LARGEST_LOG_SNR = 12.0
"""Signal-to-noise ratios beyond e^12 are treated as e^12, so that no noise at all has a value."""


class PatchedUNet(nn.Module):
    """Estimates a photo from its noisy version.

    Patches of `patch` x `patch` pixels become the channels of a grid (pixel unshuffle), on which a
    U-Net of residual blocks works. Every block is told the noise level and the class. The network
    is fully convolutional: sides must be multiples of `stride`.

    The U-Net predicts what is left after the best estimate that looks at one value only,
    `x0 = c_skip x_t + c_out F(c_in x_t)`, with coefficients such that its input and its target have
    unit variance at every noise level.

    Args:
        classes: Number of classes. The index `classes` stands for "no class is given".
        channels: Channels at each resolution, fine to coarse; multiples of `groups`.
        blocks: Residual blocks at each resolution, on the way down and on the way up.
        patch: Side of a patch in pixels.
        embedding: Width of the description of noise level and class.
        groups: Groups of the normalisations.
        data_std: Standard deviation of the photos' values on the scale [-1, 1].

    Raises:
        ValueError: If there are no channels, or they cannot be cut into groups.

    Source: U-Net for diffusion: Ho et al. 2020; coefficients: Karras et al. 2022, table 1, written
    for `x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise`.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: Sequence[int] = (128, 128, 128),
        blocks: int = 1,
        patch: int = 4,
        embedding: int = 128,
        groups: int = 8,
        data_std: float = 0.55,
    ) -> None:
        super().__init__()
        if not channels or any(width % groups for width in channels):
            raise ValueError(f"network.channels must be multiples of {groups}, got {channels}")
        self.classes = classes
        self.patch = patch
        self.stride = patch * 2 ** (len(channels) - 1)
        self.data_variance = data_std**2
        self.level = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.label = nn.Embedding(classes + 1, embedding)
        self.stem = nn.Conv2d(3 * patch**2, channels[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for width in channels:
            self.down.append(_stack(blocks, width, width, embedding, groups))
            self.up.append(_stack(blocks, 2 * width, width, embedding, groups))
        steps = list(pairwise(channels))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, 2, padding=1) for a, b in steps)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in steps)
        self.middle = _stack(2, channels[-1], channels[-1], embedding, groups)
        self.norm = nn.GroupNorm(groups, channels[0])
        self.head = nn.Conv2d(channels[0], 3 * patch**2, 3, padding=1)
        _zero(self.head)  # the best estimate that looks at one value only, at first

    def forward(self, noisy: Tensor, alpha_bar: Tensor, classes: Tensor) -> Tensor:
        """Estimates of the photos without noise.

        Args:
            noisy: (n, 3, h, w) `sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise`, x0 in [-1, 1].
            alpha_bar: (n,) in (0, 1], the share of the signal in the variance.
            classes: (n,) class indices; `self.classes` where no class is given.

        Returns:
            (n, 3, h, w) estimates of x0, not clamped.

        Raises:
            ValueError: If a side is not a multiple of `stride`.
        """
        if noisy.shape[-2] % self.stride or noisy.shape[-1] % self.stride:
            raise ValueError(
                f"sides must be multiples of {self.stride} px for this network, "
                f"got {tuple(noisy.shape[-2:])}"
            )
        signal = alpha_bar.view(-1, 1, 1, 1)
        variance = signal * self.data_variance + 1 - signal
        residual = self.residual(noisy / variance.sqrt(), alpha_bar, classes)
        skip = signal.sqrt() * self.data_variance / variance
        return skip * noisy + self.residual_scale(alpha_bar).view(-1, 1, 1, 1) * residual

    def residual_scale(self, alpha_bar: Tensor) -> Tensor:
        """(n,) c_out: standard deviation of what is left after the estimate by one value."""
        variance = alpha_bar * self.data_variance + 1 - alpha_bar
        return (self.data_variance * (1 - alpha_bar) / variance).sqrt()

    def residual(self, x: Tensor, alpha_bar: Tensor, classes: Tensor) -> Tensor:
        """(n, 3, h, w) F: the U-Net alone, input and output of unit variance."""
        told = F.silu(self.level(_fourier(alpha_bar)) + self.label(classes))
        x = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = []
        for index, stack in enumerate(self.down):
            x = _run(stack, self.shrink[index - 1](x) if index else x, told)
            skips.append(x)
        x = _run(self.middle, x, told)
        for index in reversed(range(len(self.up))):
            x = _run(self.up[index], torch.cat([x, skips[index]], 1), told)
            if index:
                x = self.grow[index - 1](F.interpolate(x, scale_factor=2))
        return F.pixel_shuffle(self.head(F.silu(self.norm(x))), self.patch)


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside an identity; the second is scaled and shifted by `told`."""

    def __init__(self, source: int, width: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, source)
        self.conv1 = nn.Conv2d(source, width, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(groups, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Identity() if source == width else nn.Conv2d(source, width, 1)
        _zero(self.conv2)  # the identity, at first

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.told(told)[:, :, None, None].chunk(2, 1)
        hidden = self.conv2(F.silu(hidden * (1 + scale) + shift))
        return self.skip(x) + hidden  # type: ignore[no-any-return]


def _zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _stack(blocks: int, source: int, width: int, embedding: int, groups: int) -> nn.ModuleList:
    sources = [source] + [width] * (blocks - 1)
    return nn.ModuleList(_Block(each, width, embedding, groups) for each in sources)


def _run(stack: nn.Module, x: Tensor, told: Tensor) -> Tensor:
    assert isinstance(stack, nn.ModuleList)
    for block in stack:
        x = block(x, told)
    return x


def _fourier(alpha_bar: Tensor) -> Tensor:
    """(n,) -> (n, 2 * FREQUENCIES) sines and cosines of the logarithmic signal-to-noise ratio."""
    limit = LARGEST_LOG_SNR
    log_snr = (alpha_bar.log() - torch.log1p(-alpha_bar)).clamp(-limit, limit)
    # Periods from 8 times the range down to a unit and a half.
    frequencies = torch.logspace(-1.5, 0.6, FREQUENCIES, device=alpha_bar.device)
    phase = log_snr[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], 1)
