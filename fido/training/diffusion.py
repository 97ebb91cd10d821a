"""Training of a denoiser for diffusion models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from fido.diffusion.schedule import add_noise
from fido.networks.patched_unet import PatchedUNet
from fido.runtime.noise import image_seed
from fido.training.averaged import AveragedTraining
from fido.training.conditional_photos import LabelledImages


def psnr(estimate: Tensor, image: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratios in dB of estimates clamped to [0, 1].

    Args:
        estimate: (n, 3, h, w).
        image: (n, 3, h, w) in [0, 1].
    """
    return -10 * (estimate.clamp(0, 1) - image).square().mean((1, 2, 3)).log10()


class DiffusionTraining(AveragedTraining):
    """Trains a network to remove Gaussian noise, as much as a random step of a schedule adds.

    The loss is the mean squared error of the network's residual (see `PatchedUNet`), that is of
    the estimated x_0 with a weight that makes all noise levels count alike. Everything random of a
    step is a function of (seed, step): an interrupted training goes on exactly.

    Args:
        network: To be trained.
        batches: From a step to its images and classes.
        validation_images: Images and classes that are never trained on.
        steps: Optimiser steps of the whole training, for the learning rate.
        alpha_bars: (t,) `alpha_bar` of the steps of a noise schedule.
        lowest_alpha_bar: Noisier steps are not trained. They cost time, and a counterfactual never
            starts there.
        label_dropout: Share of images whose class is hidden, so that the network learns to do
            without, too.
        levels: `sqrt(alpha_bar)` at which the held-out images are denoised.
        precision: "float32" or "bf16" (faster on hardware with bfloat16 arithmetic).
        learning_rate: Highest learning rate of AdamW.
        weight_decay: AdamW's decay.
        warmup: Steps of linear rise; then half a cosine falls to 0.
        ema_decay: Decay a step of the average of the weights.
        clip: Largest norm of the gradient.
        seed: Of noise, steps of the schedule and hidden classes.

    Raises:
        ValueError: If a number is out of range, or the batches have more classes than the network.

    Source: Ho et al. 2020, algorithm 1; hidden classes: Ho & Salimans 2022; weight: Karras et al.
    2022, section 5.
    """

    network: PatchedUNet
    ema: PatchedUNet

    def __init__(
        self,
        network: PatchedUNet,
        batches: Callable[[int], LabelledImages],
        validation_images: LabelledImages,
        steps: int,
        alpha_bars: Tensor,
        lowest_alpha_bar: float = 0.05,
        label_dropout: float = 0.15,
        levels: Sequence[float] = (0.95, 0.86, 0.77, 0.55),
        precision: str = "float32",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup: int = 200,
        ema_decay: float = 0.999,
        clip: float = 1.0,
        seed: int = 0,
    ) -> None:
        network = network.to(memory_format=torch.channels_last)
        super().__init__(
            network, steps, learning_rate, weight_decay, (0.9, 0.99), warmup, ema_decay
        )
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"training.label_dropout must be in [0, 1], got {label_dropout}")
        if not all(0 < level < 1 for level in levels):
            raise ValueError(f"training.levels must be in (0, 1), got {list(levels)}")
        if precision not in ("float32", "bf16"):
            raise ValueError(f"training.precision must be float32 or bf16, got {precision!r}")
        largest = int(validation_images.classes.max())
        if largest >= network.classes:
            raise ValueError(
                f"the photos have {largest + 1} classes or more, "
                f"network.classes is {network.classes}"
            )
        self.alpha_bars = alpha_bars[alpha_bars >= lowest_alpha_bar].float()
        if not len(self.alpha_bars):
            raise ValueError(f"training.lowest_alpha_bar={lowest_alpha_bar} leaves no step")
        self.automatic_optimization = False
        self.batches = batches
        self.validation_images = validation_images
        self.label_dropout = label_dropout
        self.levels = list(levels)
        self.precision = precision
        self.clip = clip
        self.seed = seed

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step on the batch of the current step; what the loader yields is not looked at."""
        step = self.global_step
        images, classes = self.batches(step)
        loss = self.loss(images.to(self.device), classes.to(self.device), str(step))
        optimizer, schedule = cast(Any, self.optimizers()), cast(Any, self.lr_schedulers())
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()
        schedule.step()
        self.log("train/loss", loss.detach(), batch_size=1)

    def loss(self, images: Tensor, classes: Tensor, purpose: str) -> Tensor:
        """Mean squared error of the residual, 1 for the best estimate that sees one value only.

        Args:
            images: (n, 3, h, w) in [0, 1].
            classes: (n,) class indices, -1 where there is none.
            purpose: What the random numbers belong to: the step.
        """
        generator = torch.Generator().manual_seed(image_seed(self.seed, purpose, "diffusion"))
        n = len(images)
        alpha_bar = self.alpha_bars[torch.randint(len(self.alpha_bars), (n,), generator=generator)]
        hidden = torch.rand(n, generator=generator) < self.label_dropout
        hidden = hidden.to(images.device) | (classes < 0)
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        alpha_bar = alpha_bar.to(images.device)
        classes = torch.where(hidden, self.network.classes, classes)
        x0 = images * 2 - 1
        noisy = add_noise(x0, alpha_bar, noise)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            estimate = self.network(noisy, alpha_bar, classes).float()
        scale = self.network.residual_scale(alpha_bar).view(-1, 1, 1, 1)
        error: Tensor = ((estimate - x0) / scale).square().mean()
        return error

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """PSNR and loss of the averaged weights for every noise level, with and without classes."""
        none = torch.full_like(self.validation_images.classes, -1)
        for kind, classes in (("", none), ("_class", self.validation_images.classes)):
            for level in self.levels:
                estimate = self.denoise(level, classes)
                ratio = psnr(estimate, self.validation_images.images)
                self.log(f"val/psnr{kind}_{level}", ratio.mean(), batch_size=1)
                if not kind:
                    error = (estimate - self.validation_images.images).mul(2).square().mean()
                    scale = self.network.residual_scale(torch.tensor([level**2]))
                    self.log(f"val/loss_{level}", error / scale.square()[0], batch_size=1)

    def noisy(self, level: float) -> Tensor:
        """(n, 3, h, w) the validation images with noise, always the same, on the scale [-1, 1]."""
        images = self.validation_images.images
        purpose = f"validation {level}"
        generator = torch.Generator().manual_seed(image_seed(self.seed, purpose, "diffusion"))
        noise = torch.randn(images.shape, generator=generator)
        return add_noise(images * 2 - 1, level**2, noise)

    @torch.no_grad()
    def denoise(self, level: float, classes: Tensor) -> Tensor:
        """(n, 3, h, w) estimates of the first n validation images, in [0, 1] but not clamped.

        Args:
            level: `sqrt(alpha_bar)` of the noise that is added first.
            classes: (n,) class indices, -1 where there is none.
        """
        parts = []
        indices = torch.where(classes < 0, self.network.classes, classes)
        noisy_images = self.noisy(level)[: len(classes)]
        for noisy, told in zip(
            torch.split(noisy_images, 32), torch.split(indices, 32), strict=True
        ):
            alpha_bar = torch.full((len(noisy),), level**2, device=self.device)
            parts.append(self.ema(noisy.to(self.device), alpha_bar, told.to(self.device)).cpu())
        return torch.cat(parts) / 2 + 0.5
