"""A light inpainting network: push-pull prefill, residual U-Net, attention over kept regions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.networks.push_pull import push_pull

STRIDE = 16
"""Sides of the input must be multiples of this many pixels."""

DETAIL = 6.0
"""Gain on differences inside a cell: they are a tenth of the colours, and as important."""

CORRECTION = 0.2
"""Gain on the head: errors of the prefill are about so large, which keeps Adam's steps small."""


class Residual(nn.Module):
    """x + conv(silu(conv_dilated(silu(x))))."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> the same shape."""
        inner: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + inner


class ContextualAttention(nn.Module):
    """Copy features, coarse and fine, from similar places that were kept.

    a = softmax over places q of (scale * cos(query_p, key_q) + log(kept_q + 1e-3)): a soft bias
    instead of a hard validity, so that scattered masks, under which no place is wholly kept,
    still leave keys to copy from. The weights copy values at this resolution and 2 x 2 patches of
    features at twice the resolution.

    Args:
        channels: Channels here.
        fine: Channels at twice the resolution.
        heads: Attention heads.

    Source: Yu et al. 2018 (contextual attention); the soft validity and heads are our own.
    """

    def __init__(self, channels: int, fine: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.out_fine = nn.Conv2d(fine, fine, 1)
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))

    def weights(self, x: Tensor, kept: Tensor) -> Tensor:
        """(n, heads, places, places) attention; rows sum to 1. kept: (n, 1, h, w) fractions."""
        query = F.normalize(self._split(self.query(x)), dim=2)
        key = F.normalize(self._split(self.key(x)), dim=2)
        bias = torch.log(kept.flatten(1) + 1e-3)[:, None, None]  # (n, 1, 1, places)
        score = query.transpose(2, 3) @ key * self.log_scale.clamp_max(4.0).exp() + bias
        return score.softmax(-1)

    def forward(self, x: Tensor, fine: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """X (n, c, h, w), fine (n, f, 2h, 2w), kept (n, 1, h, w) -> new x, copied fine features."""
        weights = self.weights(x, kept)
        patches = F.pixel_unshuffle(fine, 2)
        value = torch.cat([self._split(self.value(x)), self._split(patches)], 2)
        copied = value @ weights.transpose(2, 3)  # (n, heads, c / heads + 4 f / heads, places)
        n, c, h, w = x.shape
        coarse = copied[:, :, : c // self.heads].reshape(n, -1, h, w)
        pasted = copied[:, :, c // self.heads :].reshape(n, -1, h, w)
        return x + self.out(coarse), self.out_fine(F.pixel_shuffle(pasted, 2))

    def _split(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, self.heads, c // self.heads, h * w)


class ContextualAttentionNet(nn.Module):
    """Image completion in one stage; inside, nothing is larger than a quarter of the image.

    The prefill and keep planes enter by 4 x 4 pixel unshuffling, so that every kept pixel is
    seen although the first convolution works at a quarter of the resolution; the correction of
    the prefill leaves by pixel shuffling. Attention sits at a sixteenth.

    Args:
        channels: Channels at strides 4, 8 and 16.
        dilations: One residual block at stride 16 for each.
        attention_after: Blocks at stride 16 before the attention.
        heads: Attention heads.
    """

    def __init__(
        self,
        channels: tuple[int, int, int] = (40, 80, 128),
        dilations: tuple[int, ...] = (1, 2, 4, 1, 2),
        attention_after: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__()
        c4, c8, c16 = channels
        self.attention_after = attention_after
        self.stem = nn.Conv2d(3 + 3 * 16 + 16 + 1, c4, 3, padding=1)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.encode8 = Residual(c8)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Residual(c16, dilation) for dilation in dilations)
        self.attention = ContextualAttention(c16, c8, heads)
        self.up8 = nn.Conv2d(c16, c8, 1)
        self.decode8 = Residual(c8)
        self.up4 = nn.Conv2d(c8, c4, 1)
        self.decode4 = Residual(c4)
        self.head = nn.Conv2d(c4, 3 * 16, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        """Keep the variance through SiLU layers; residual branches start small, the head at 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                module.weight.data.mul_(1.2)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, Residual):
                module.second.weight.data.mul_(0.2)
        nn.init.zeros_(self.head.weight)

    def forward(self, image: Tensor, keep: Tensor) -> Tensor:
        """Propose all pixels.

        Args:
            image: (n, 3, h, w) in [0, 1], sides multiples of 16. Dropped pixels have no influence.
            keep: (n, 1, h, w) of zeros and ones, 1 keeps.

        Returns:
            (n, 3, h, w), about [0, 1], not clamped.
        """
        prefill = push_pull(image, keep, gain=4.0, relaxations=4)
        x4 = self.stem(self._planes(prefill, keep))
        x8 = self.encode8(self.down8(F.silu(x4)))
        x = self.down16(F.silu(x8))
        for block in self.middle[: self.attention_after]:
            x = block(x)
        x, pasted = self.attention(x, x8, F.avg_pool2d(keep, STRIDE))
        for block in self.middle[self.attention_after :]:
            x = block(x)
        y = self.decode8(x8 + pasted + up(self.up8(F.silu(x))))
        y = self.decode4(x4 + up(self.up4(F.silu(y))))
        return prefill + CORRECTION * F.pixel_shuffle(self.head(F.silu(y)), 4)

    @staticmethod
    def _planes(prefill: Tensor, keep: Tensor) -> Tensor:
        """Return the input of the stem, at a quarter of the resolution, scaled to about unit size.

        Mean colours of 4 x 4 cells, the pixels' differences from them, the keep planes, and a
        plane of ones that shows where zero padding begins.
        """
        n, _, h, w = prefill.shape
        pixels = F.pixel_unshuffle(prefill, 4).reshape(n, 3, 16, h // 4, w // 4)
        means = pixels.mean(2, keepdim=True)
        detail = (DETAIL * (pixels - means)).reshape(n, 48, h // 4, w // 4)
        kept = F.pixel_unshuffle(keep, 4)
        return torch.cat(
            [2 * means[:, :, 0] - 1, detail, kept - 0.5, torch.ones_like(kept[:, :1])], 1
        )


def up(x: Tensor) -> Tensor:
    """Twice the resolution, nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
