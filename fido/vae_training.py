"""Training of the image-completion VAE: Gaussian likelihood of what was dropped, and a KL term."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fido.infiller_training import InfillerTraining
from fido.kept_pixels import fill_at, resize_kept
from fido.networks.inpainting_vae import Completion, InpaintingVAE
from fido.noise import image_seed


def gaussian_nll(wanted: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """`(log_variance + (wanted - mean)^2 exp(-log_variance)) / 2`, elementwise, in nats.

    The constant log(2 pi) / 2 is left out, as in the paper's code.
    """
    return 0.5 * (log_variance + (wanted - mean).square() * torch.exp(-log_variance))


def standard_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), elementwise, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


class VaeTraining(InfillerTraining):
    """Trains an `InpaintingVAE` to predict what masks of a given law drop.

    loss = [sum of the Gaussian NLL of dropped values + kl_weight * sum of the latents' KL] /
    number of dropped values, all sums over the batch. The image and mask are brought to the
    network's resolution first: it sees averages of the kept pixels of every cell, and has to say
    the average of the dropped ones, counted by their number. At full resolution these are the
    pixels themselves, and the loss is the paper's but for the divisor.

    Args:
        network: The VAE.
        shrink: Side in pixels of the cells; 1 lets the network work at the images' resolution.
        kl_weight: Weight of the KL sum beside the NLL sum. The paper's code divides the KL by the
            number of training images and the NLL by the batch: 1.6e-6 to 2e-5.
        beta: In the loss every value's NLL is multiplied by (predicted variance)^beta, a factor
            without gradient. 0 is the plain likelihood, under which large holes teach the mean
            little; 1 teaches the mean by squared error alone.
        **training: See `InfillerTraining`.

    Source: Chang et al. 2019, appendix (VAE); Kingma & Welling 2014; Seitzer et al. 2022 (beta).
    """

    network: InpaintingVAE

    def __init__(
        self,
        network: InpaintingVAE,
        shrink: int = 2,
        kl_weight: float = 2e-5,
        beta: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(network, **training)
        if shrink < 1:
            raise ValueError(f"training.shrink must be 1 or more, got {shrink}")
        if kl_weight < 0:
            raise ValueError(f"training.kl_weight must be 0 or more, got {kl_weight}")
        self.shrink = shrink
        if not 0 <= beta <= 1:
            raise ValueError(f"training.beta must lie in [0, 1], got {beta}")
        self.kl_weight = kl_weight
        self.beta = beta

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of the batch of the current step; what the loader yields is not looked at."""
        step = self.global_step
        image = self.batches(step).to(self.device)
        keep = self.masks(self.hole_masks, image, str(step))
        terms = self.loss_terms(image, keep, image_seed(self.seed, str(step), "latent"))
        for name, value in terms.items():
            self.log(f"train/{name}", value.detach(), batch_size=1)
        return terms["loss"]

    def loss_terms(self, image: Tensor, keep: Tensor, seed: int) -> dict[str, Tensor]:
        """The loss and its parts.

        Args:
            image: (n, 3, h, w) in [0, 1].
            keep: (n, 1, h, w), 1 keeps.
            seed: Of the latents' noise.

        Returns:
            "loss"; "nll" in nats a dropped value; "kl" in nats an image; "hole_l1" at the
            network's resolution.
        """
        size = (image.shape[-2] // self.shrink, image.shape[-1] // self.shrink)
        shown, kept = resize_kept(image, keep, size)
        wanted, _ = resize_kept(image, 1 - keep, size)
        weight = 1 - functional.adaptive_avg_pool2d(keep, size)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(image), *self.network.latent_shape(*size), generator=generator)
        told: Completion = self.network.complete(shown, kept, noise.to(image.device))
        values = (3 * weight.sum()).clamp_min(1.0)
        per_value = gaussian_nll(wanted, told.mean, told.log_variance)
        # Where the variance is high the likelihood hardly pulls at the mean; see `beta`.
        attention = torch.exp(self.beta * told.log_variance.detach())
        nll = (weight * per_value).sum() / values
        kl = standard_kl(told.latent_mean, told.latent_log_variance).sum()
        return {
            "loss": ((weight * attention * per_value).sum() + self.kl_weight * kl) / values,
            "nll": nll,
            "kl": kl / len(image),
            "hole_l1": (weight * (wanted - told.mean).abs()).sum() / values,
        }

    def fill(self, image: Tensor, keep: Tensor) -> Tensor:
        """(n, 3, h, w) predictive mean of the averaged weights, at the images' resolution."""
        return fill_at(self.ema, image, keep, min(image.shape[-2:]) // self.shrink)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the average of the weights; statistics of normalisation layers are copied."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        for average, newest in zip(self.ema.buffers(), self.network.buffers(), strict=True):
            average.copy_(newest)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Hole L1 of the averaged weights for every law, always on the same images and masks."""
        for name, value in self.evaluate(self.fill).items():
            self.log(f"val/{name}", value, batch_size=1)
