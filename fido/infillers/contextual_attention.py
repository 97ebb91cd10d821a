"""Infill with the shipped contextual-attention network, the default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fido import weights as shipped
from fido.infillers.base import Infiller, keep_known, per_mask
from fido.infillers.resolution import check_options, infill_at_resolution
from fido.networks.contextual_attention import STRIDE, ContextualAttentionNet
from fido.runtime.checks import check_choice
from fido.runtime.noise import ImageNoise


class ContextualAttentionInfiller(Infiller):
    """Complete images with `ContextualAttentionNet`; kept pixels are returned as they are.

    The network gets `image * keep` and never sees dropped pixels.

    Args:
        weights: "ca" for the shipped weights, the path of a `.safetensors` file, or None for
            random ones.
        channels: See `ContextualAttentionNet`; must fit the weights.
        resolution: Short side in pixels at which the network works, a multiple of 16; None is the
            image's own size, extended to multiples of 16; see
            `fido.infillers.resolution.infill_at_resolution`.
        precision: "float32", or "bf16" for bfloat16 autocast, which only pays on hardware with
            bfloat16 arithmetic.
        rows_per_pass: Rows in one pass of the network, or None for all at once.

    Raises:
        FileNotFoundError: If a weights file is not there.
        ValueError: If weights are damaged or do not fit, or an argument is out of range.
    """

    def __init__(
        self,
        weights: str | Path | None = "ca",
        channels: Sequence[int] = (40, 80, 128),
        resolution: int | None = None,
        precision: str = "float32",
        rows_per_pass: int | None = 32,
    ) -> None:
        super().__init__()
        check_choice(("float32", "bf16"), "infiller", precision=precision)
        check_options(resolution, rows_per_pass, multiple=STRIDE)
        c4, c8, c16 = channels
        self.network = ContextualAttentionNet((c4, c8, c16))
        if weights is not None:
            shipped.load(self.network, weights)
        self.network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        self.resolution = resolution
        self.precision = precision
        self.rows_per_pass = rows_per_pass

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """(b, 3, h, w), (b * s, 1, h, w) -> (b * s, 3, h, w) in [0, 1]; see `Infiller`."""
        rows = per_mask(image, self.repeats(image, keep))
        filled = infill_at_resolution(
            self._network, rows * keep, keep, self.resolution, self.rows_per_pass, multiple=STRIDE
        )
        return keep_known(filled, rows, keep)

    def _network(self, image: Tensor, keep: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            proposal: Tensor = self.network(image, keep)
        return proposal.float().clamp(0, 1)
