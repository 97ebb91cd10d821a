"""The U-Net of guided diffusion, and its encoder as a classifier.

Modules are named as in the authors' checkpoints, so that their tensors load without renaming.

Source: Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis", appendix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


def time_embedding(steps: Tensor, channels: int) -> Tensor:
    """(n, channels) cosines, then sines, of step times frequencies from 1 down to 1e-4.

    Args:
        steps: (n,) numbers of steps.
        channels: Even.
    """
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=steps.device) / half)
    angles = steps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResidualBlock(nn.Module):
    """Two convolutions, the second one scaled and shifted by the time; may resize by two.

    Args:
        channels: Of the input.
        width: Of the output.
        embedding: Channels of the time's embedding.
        resize: "down" averages 2 x 2 pixels, "up" repeats them, "" keeps the size.
    """

    def __init__(self, channels: int, width: int, embedding: int, resize: str = "") -> None:
        super().__init__()
        self.resize = resize
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, width, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * width))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            nn.SiLU(),
            nn.Identity(),  # dropout in training
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.skip_connection = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(n, channels, h, w) and (n, embedding) -> (n, width, h', w')."""
        h = self.in_layers[:2](x)
        h = self.in_layers[2](self._resized(h))
        scale, shift = self.emb_layers(time)[:, :, None, None].chunk(2, 1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        summed: Tensor = self.skip_connection(self._resized(x)) + self.out_layers[1:](h)
        return summed

    def _resized(self, x: Tensor) -> Tensor:
        if self.resize == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resize == "up" else x


class AttentionBlock(nn.Module):
    """Self-attention over all pixels, added to the input.

    Args:
        channels: Of input and output.
        head_channels: Of a head.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same."""
        flat = x.flatten(2)
        # Queries, keys and values of one head stand together.
        parts = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1)).transpose(-1, -2)
        found = F.scaled_dot_product_attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2])
        summed: Tensor = flat + self.proj_out(found.transpose(-1, -2).flatten(1, 2))
        return summed.view_as(x)


class AttentionPool(nn.Module):
    """Attention of the mean over the pixels to itself and all pixels.

    Args:
        side: Of the feature maps.
        channels: Of the input.
        head_channels: Of a head.
        outputs: Of the result.

    Source: Radford et al. 2021 (CLIP), section 2.4.
    """

    def __init__(self, side: int, channels: int, head_channels: int, outputs: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.positional_embedding = nn.Parameter(torch.zeros(channels, side**2 + 1))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, side, side) -> (n, outputs)."""
        flat = x.flatten(2)
        tokens = torch.cat([flat.mean(2, keepdim=True), flat], 2) + self.positional_embedding
        # All queries, then all keys, then all values.
        parts = self.qkv_proj(tokens).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        found = F.scaled_dot_product_attention(parts[:, 0, :, :1], parts[:, 1], parts[:, 2])
        pooled: Tensor = self.c_proj(found.transpose(-1, -2).flatten(1, 2))[:, :, 0]
        return pooled


class Stage(nn.Sequential):
    """Blocks one after the other, each told the time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        """(n, channels, h, w) and (n, embedding) -> (n, width, h', w')."""
        for block in self:
            x = block(x) if isinstance(block, nn.Conv2d) else block(x, time)
        return x


class GuidedEncoder(nn.Module):
    """The encoder: what the U-Net and the classifier have in common.

    Args:
        channels: Of the first level.
        multipliers: Channels of every level, in multiples of the first; each has half of the size
            of the one before.
        blocks: Residual blocks a level.
        attention: Levels with attention, from 0.
        head_channels: Of a head.
    """

    def __init__(
        self,
        channels: int,
        multipliers: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        head_channels: int = 64,
    ) -> None:
        super().__init__()
        self.channels = channels
        embedding = 4 * channels
        self.time_embed = nn.Sequential(
            nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        width = channels * multipliers[0]
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(3, width, 3, padding=1))])
        self.widths = [width]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                stage = Stage(ResidualBlock(width, channels * multiplier, embedding))
                width = channels * multiplier
                if level in attention:
                    stage.append(AttentionBlock(width, head_channels))
                self.input_blocks.append(stage)
                self.widths.append(width)
            if level + 1 < len(multipliers):
                self.input_blocks.append(Stage(ResidualBlock(width, width, embedding, "down")))
                self.widths.append(width)
        self.middle_block = Stage(
            ResidualBlock(width, width, embedding),
            AttentionBlock(width, head_channels),
            ResidualBlock(width, width, embedding),
        )
        self.width = width

    def encoded(self, x: Tensor, steps: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """What every input block gives, the middle, and the time's embedding (n, 4 channels)."""
        time = self.time_embed(time_embedding(steps, self.channels))
        found = [x]
        for stage in self.input_blocks:
            found.append(stage(found[-1], time))
        return found[1:], self.middle_block(found[-1], time), time


class GuidedUNet(GuidedEncoder):
    """Noise, and where the variance is between its bounds, of every pixel.

    Args:
        channels: See `GuidedEncoder`; the defaults are those of the 256-pixel checkpoint.
        multipliers: See `GuidedEncoder`.
        blocks: See `GuidedEncoder`.
        attention: See `GuidedEncoder`.
        head_channels: See `GuidedEncoder`.
    """

    def __init__(
        self,
        channels: int = 256,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention: Sequence[int] = (3, 4, 5),
        head_channels: int = 64,
    ) -> None:
        super().__init__(channels, multipliers, blocks, attention, head_channels)
        self.stride = 2 ** (len(multipliers) - 1)
        width, embedding, skips = self.width, 4 * channels, list(self.widths)
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(multipliers))):
            for block in range(blocks + 1):
                out = channels * multipliers[level]
                stage = Stage(ResidualBlock(width + skips.pop(), out, embedding))
                width = out
                if level in attention:
                    stage.append(AttentionBlock(width, head_channels))
                if level and block == blocks:
                    stage.append(ResidualBlock(width, width, embedding, "up"))
                self.output_blocks.append(stage)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, 6, 3, padding=1)
        )

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        """Noisy images on the scale [-1, 1] -> noise and place of the variance.

        Args:
            x: (n, 3, h, w), h and w multiples of `stride`.
            steps: (n,) of 0 .. 999.

        Returns:
            (n, 6, h, w): the noise; from -1, the smallest variance, to 1, the largest.
        """
        skips, h, time = self.encoded(x, steps)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], 1), time)
        output: Tensor = self.out(h)
        return output


class GuidedClassifier(GuidedEncoder):
    """The encoder with attention pooling: logits of noisy images.

    Args:
        channels: See `GuidedEncoder`; the defaults are those of the 256-pixel checkpoint.
        multipliers: See `GuidedEncoder`.
        blocks: See `GuidedEncoder`.
        attention: See `GuidedEncoder`.
        head_channels: See `GuidedEncoder`.
        size: Side of the images in pixels.
        classes: Logits.
    """

    def __init__(
        self,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention: Sequence[int] = (3, 4, 5),
        head_channels: int = 64,
        size: int = 256,
        classes: int = 1000,
    ) -> None:
        super().__init__(channels, multipliers, blocks, attention, head_channels)
        side = size // 2 ** (len(multipliers) - 1)
        pool = AttentionPool(side, self.width, head_channels, classes)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, self.width), nn.SiLU(), pool)

    def forward(self, x: Tensor, steps: Tensor | None = None) -> Tensor:
        """Images on the scale [-1, 1] -> (n, classes) logits.

        Args:
            x: (n, 3, size, size).
            steps: (n,) of 0 .. 999, how noisy they are; None: clean.
        """
        if steps is None:
            steps = torch.zeros(len(x), device=x.device)
        _, h, _ = self.encoded(x, steps)
        logits: Tensor = self.out(h)
        return logits
