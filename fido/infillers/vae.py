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
from fido.masks.draws import blob_normal
from fido.networks.inpainting_vae import Completion, InpaintingVAE
from fido.runtime.checks import check_above, check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class VaeInfiller(Infiller):
    """Fill with the predictive mean of an `InpaintingVAE`.

    Args:
        network: The VAE that the weights belong to.
        weights: "vae" for the shipped weights, the path of a `.safetensors` file, or None to leave
            the network as it is.
        predict: "mean" fills with the predictive mean at the latent's mean; "sample" with a draw
            for every mask, of the latent and of the pixels with their predicted variance, so that
            repeated fills of one mask differ as much as the network is unsure.
        correlation: Pixels over which the deviations of "sample" from the mean agree; they are
            the same in all three colours. The network predicts the variance of each pixel by
            itself and says nothing about their correlation.
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

    Source: Chang et al. 2019, section 4.1 ("VAE"); the authors' code samples the latent, this
    project the pixels as well.
    """

    def __init__(
        self,
        network: InpaintingVAE,
        weights: str | Path | None = "vae",
        predict: Literal["mean", "sample"] = "mean",
        correlation: float = 16,
        shrink: float = 1,
        precision: Literal["float32", "bf16"] = "float32",
        rows_per_pass: int | None = 32,
        reconstruct: bool = False,
    ) -> None:
        super().__init__()
        check_options(None, rows_per_pass)
        check_choice(("mean", "sample"), "infiller", predict=predict)
        check_above(0, "infiller", correlation=correlation)
        check_at_least(1, "infiller", shrink=shrink)
        check_choice(("float32", "bf16"), "infiller", precision=precision)
        if weights is not None:
            shipped.load(network, weights)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.network.eval()
        self.needs_noise = predict == "sample"
        self.correlation = correlation
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
            ValueError: If fills are sampled and no noise is given.
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
            raise ValueError("VaeInfiller.infill with predict=sample needs the images' noise")
        # One draw per row, and every pass gets the draws of its rows.
        inside = working_size(size, resolution, multiple=stride)
        latent = noise.normal(repeats, *self.network.latent_shape(*inside))
        field = blob_normal(repeats, inside, [self.correlation], noise)
        count = self.rows_per_pass or len(rows)
        passes = zip(*(torch.split(x, count) for x in (rows, keep, latent, field)), strict=True)
        fills = [
            infill_at_resolution(
                partial(self._sample, latent=z, field=e), image, keep, resolution, multiple=stride
            )
            for image, keep, z, e in passes
        ]
        fill = torch.cat(fills)
        return fill if self.reconstruct else keep_known(fill, rows, keep)

    def _mean(self, image: Tensor, keep: Tensor) -> Tensor:
        return self._complete(image, keep, None).mean.float().clamp(0, 1)

    def _sample(self, image: Tensor, keep: Tensor, latent: Tensor, field: Tensor) -> Tensor:
        """`mean + field * standard deviation` of the pixels, decoded from a draw of the latent."""
        told = self._complete(image, keep, latent)
        return (told.mean.float() + field * torch.exp(told.log_variance.float() / 2)).clamp(0, 1)

    def _complete(self, image: Tensor, keep: Tensor, latent: Tensor | None) -> Completion:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network.complete(image, keep, latent)
