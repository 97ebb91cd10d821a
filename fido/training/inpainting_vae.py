"""Training of the inpainting VAE: Gaussian likelihood of dropped pixels, and a KL term."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.infillers.resolution import infill_at_resolution, resize_kept
from fido.networks.inpainting_vae import InpaintingVAE
from fido.runtime.checks import check_at_least
from fido.runtime.noise import image_seed
from fido.training.infiller import InfillerTraining


def gaussian_nll(truth: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """`(log_variance + (truth - mean)^2 exp(-log_variance)) / 2`, elementwise, in nats.

    The constant log(2 pi) / 2 is left out, as in the paper's code.
    """
    return 0.5 * (log_variance + (truth - mean).square() * torch.exp(-log_variance))


def standard_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), elementwise, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


class VaeTraining(InfillerTraining):
    """Train an `InpaintingVAE` to predict the dropped pixels of masks of a given distribution.

    loss = [sum of the Gaussian NLL of dropped values + kl_weight * sum of the latents' KL +
    l1_weight * sum of absolute errors of the mean] / number of dropped values, all sums over the
    batch. The image and mask are brought to the
    network's resolution first: it sees the averages of the kept pixels of every cell and predicts
    the average of the dropped ones, weighted by their number. At full resolution these are the
    pixels themselves, and the loss is the paper's but for the divisor.

    Args:
        network: The VAE.
        shrink: Side in pixels of the cells; 1 lets the network work at the images' resolution.
        kl_weight: Weight of the KL sum beside the NLL sum. The paper's code divides the KL by the
            number of training images and the NLL by the batch: 1.6e-6 to 2e-5.
        l1_weight: Weight of the absolute errors in [0, 1] units beside the NLL; 0 in the paper.
            The likelihood alone weighs errors by the predicted precision, so that flat regions
            lead and large holes, where much is to be learned, hardly count.
        **training: See `InfillerTraining`.

    Source: Chang et al. 2019, appendix (VAE); Kingma & Welling 2014.
    """

    network: InpaintingVAE

    def __init__(
        self,
        network: InpaintingVAE,
        shrink: int = 1,
        kl_weight: float = 2e-5,
        l1_weight: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(network, **training)
        check_at_least(1, "training", shrink=shrink)
        check_at_least(0, "training", kl_weight=kl_weight, l1_weight=l1_weight)
        self.shrink = shrink
        self.kl_weight = kl_weight
        self.l1_weight = l1_weight

    def gradients(self, image: Tensor, keep: Tensor, step: int) -> list[Tensor]:
        """See `InfillerTraining.gradients`; also logs the terms of the loss."""
        size = self.shrunk(image)
        generator = torch.Generator().manual_seed(image_seed(self.seed, str(step), "latent"))
        noise = torch.randn(len(image), *self.network.latent_shape(*size), generator=generator)
        parameters = list(self.network.parameters())
        total = (1 - F.adaptive_avg_pool2d(keep, size)).sum().clamp_min(1.0)

        def part(
            image: Tensor, keep: Tensor, noise: Tensor
        ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
            terms = self.loss_terms(image, keep, noise, total)
            gradients = torch.autograd.grad(terms["loss"], parameters)
            return {name: value.detach() for name, value in terms.items()}, gradients

        pieces = [x.chunk(self.workers) for x in (image, keep, noise.to(image.device))]
        with ThreadPoolExecutor(self.workers) as pool:
            terms, gradients = zip(*pool.map(part, *pieces), strict=True)
        for name in terms[0]:
            self.log(f"train/{name}", sum(shares[name] for shares in terms), batch_size=1)
        return [torch.stack(shares).sum(0) for shares in zip(*gradients, strict=True)]

    def loss_terms(
        self, image: Tensor, keep: Tensor, noise: Tensor, total: Tensor
    ) -> dict[str, Tensor]:
        """Return the share of some rows in the loss of a batch, and its terms.

        Args:
            image: (n, 3, h, w) in [0, 1].
            keep: (n, 1, h, w), 1 keeps.
            noise: (n, *latent_shape) standard normal numbers.
            total: Dropped pixels of the whole batch, counted in cells.

        Returns:
            "loss"; "nll" and "kl", both in nats a dropped value of the batch, before their
            weights; "hole_l1" at the network's resolution.
        """
        size = self.shrunk(image)
        shown, kept = resize_kept(image, keep, size)
        truth, _ = resize_kept(image, 1 - keep, size)
        weight = (1 - F.adaptive_avg_pool2d(keep, size)) / (3 * total)
        completion = self.network.complete(shown, kept, noise)
        nll = (weight * gaussian_nll(truth, completion.mean, completion.log_variance)).sum()
        kl = standard_kl(completion.latent_mean, completion.latent_log_variance).sum() / (3 * total)
        l1 = (weight * (truth - completion.mean).abs()).sum()
        return {
            "loss": nll + self.kl_weight * kl + self.l1_weight * l1,
            "nll": nll,
            "kl": kl,
            "hole_l1": l1,
        }

    def shrunk(self, image: Tensor) -> tuple[int, int]:
        """Return rows and columns of (n, 3, h, w) images at the network's resolution."""
        return image.shape[-2] // self.shrink, image.shape[-1] // self.shrink

    def fill(self, image: Tensor, keep: Tensor) -> Tensor:
        """(n, 3, h, w) predictive mean of the averaged weights, at the images' resolution."""
        resolution = min(image.shape[-2:]) // self.shrink
        return infill_at_resolution(self.ema, image, keep, resolution, multiple=self.network.stride)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average of the weights; statistics of normalisation layers are copied."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        for average, newest in zip(self.ema.buffers(), self.network.buffers(), strict=True):
            average.copy_(newest)
