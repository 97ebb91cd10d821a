"""Infill with a variational autoencoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fido import weights as shipped
from fido.infillers.base import Infiller, keep_known, per_mask
from fido.infillers.resolution import check_options, infill_at_resolution, working_size
from fido.networks.inpainting_vae import InpaintingVAE
from fido.runtime.checks import check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class VaeInfiller(Infiller):
    """Fill with the predictive mean of an `InpaintingVAE`.

    Args:
        network: The VAE that the weights belong to.
        weights: "vae" for the shipped weights, the path of a `.safetensors` file, or None to leave
            the network as it is.
        latent: "mean" decodes the posterior's mean; "sample" decodes a draw for every mask, so
            that repeated fills of one mask differ as much as the network is unsure.
        shrink: How many times smaller than the image the network works, from averages of kept
            pixels; the short side is rounded to a multiple of 8 pixels.
        precision: "float32", or "bf16" for bfloat16 autocast, which only pays on hardware with
            bfloat16 arithmetic.
        rows_per_pass: Rows in one pass of the network, or None for all at once.
        reconstruct: Propose the predictive mean for kept pixels, too, as the authors' code does;
            otherwise they are the image.

    Raises:
        FileNotFoundError: If a weights file is not there.
        ValueError: If weights are damaged or do not fit, or an argument is out of range.

    Source: Chang et al. 2019, section 4.1 ("VAE"); the authors' code samples the latent.
    """

    def __init__(
        self,
        network: InpaintingVAE,
        weights: str | Path | None = "vae",
        latent: Literal["mean", "sample"] = "mean",
        shrink: float = 1,
        precision: Literal["float32", "bf16"] = "float32",
        rows_per_pass: int | None = 32,
        reconstruct: bool = False,
    ) -> None:
        super().__init__()
        check_options(None, rows_per_pass)
        check_choice(("mean", "sample"), "infiller", latent=latent)
        check_at_least(1, "infiller", shrink=shrink)
        check_choice(("float32", "bf16"), "infiller", precision=precision)
        if weights is not None:
            shipped.load(network, weights)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.network.eval()
        self.needs_noise = latent == "sample"
        self.shrink = shrink
        self.precision = precision
        self.rows_per_pass = rows_per_pass
        self.reconstruct = reconstruct

    def train(self, mode: bool = True) -> VaeInfiller:
        """Stay in evaluation mode: the statistics of normalisation layers are frozen."""
        return super().train(False)

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`.

        Raises:
            ValueError: If the latent is sampled and no noise is given.
        """
        repeats = self.repeats(image, keep)
        rows = per_mask(image, repeats)
        size = (image.shape[-2], image.shape[-1])
        stride = self.network.stride
        cells = max(1, round(min(size) / self.shrink / stride))
        resolution = stride * cells if self.shrink > 1 else None
        if not self.needs_noise:
            fill = infill_at_resolution(
                self._mean, rows, keep, resolution, self.rows_per_pass, multiple=stride
            )
            return fill if self.reconstruct else keep_known(fill, rows, keep)
        if noise is None:
            raise ValueError("VaeInfiller.infill with latent=sample needs the images' noise")
        # One draw per row, and every pass gets the draws of its rows.
        shape = self.network.latent_shape(*working_size(size, resolution, multiple=stride))
        draws = noise.normal(repeats, *shape)
        count = self.rows_per_pass or len(rows)
        passes = zip(*(torch.split(x, count) for x in (rows, keep, draws)), strict=True)
        fills = [
            infill_at_resolution(
                partial(self._mean, noise=draw), image, keep, resolution, multiple=stride
            )
            for image, keep, draw in passes
        ]
        fill = torch.cat(fills)
        return fill if self.reconstruct else keep_known(fill, rows, keep)

    def _mean(self, image: Tensor, keep: Tensor, noise: Tensor | None = None) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            completion = self.network.complete(image, keep, noise)
        return completion.mean.float().clamp(0, 1)
