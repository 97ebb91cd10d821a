"""Training of a network that completes images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch
from torch import Tensor, nn

from fido.masks.distributions.base import MaskDistribution
from fido.runtime.noise import image_seed
from fido.training.averaged import AveragedTraining
from fido.training.data import BatchLoader
from fido.training.perceptual_distance import PerceptualDistance

OPTIMISATION = {
    "learning_rate": 6e-4,
    "weight_decay": 1e-4,
    "betas": (0.9, 0.99),
    "warmup": 300,
    "ema_decay": 0.999,
}


def hole_l1_loss(proposal: Tensor, image: Tensor, keep: Tensor) -> Tensor:
    """Mean absolute difference over dropped pixels and colours; 0 if nothing is dropped.

    Args:
        proposal: (n, 3, h, w).
        image: (n, 3, h, w) in [0, 1].
        keep: (n, 1, h, w), 1 keeps.
    """
    hole = 1 - keep
    return ((proposal - image).abs() * hole).sum() / (3 * hole.sum()).clamp_min(1.0)


class InfillerTraining(AveragedTraining):
    """Train network(image, keep) -> proposal on masks of a given distribution.

    loss = hole L1 + perceptual_weight * perceptual distance of the composed image. The images and
    masks of a step are functions of (seed, step) alone, and the average of the weights is part of
    the state, so that an interrupted training goes on exactly.

    Args:
        network: Maps (n, 3, h, w) images in [0, 1] and keep masks to proposals.
        batches: From a step to its (n, 3, h, w) images in [0, 1].
        hole_masks: Distribution of the training masks.
        validation_images: (n, 3, h, w) in [0, 1], never trained on.
        validation_masks: Distributions by name; hole L1 is logged for each.
        perceptual: Distance for the second term, or None.
        perceptual_weight: Its weight beside hole L1 in [0, 1] units.
        perceptual_from: First step with the second term.
        perceptual_every: Steps between two computations of the term, each with as many times its
            weight.
        clip: Largest norm of the gradient.
        workers: Threads that share a batch. On a busy CPU this is faster than threads inside of
            operations; give PyTorch one thread then.
        seed: Seed of the masks.
        **optimisation: See `AveragedTraining`; by default learning_rate 6e-4, weight_decay 1e-4,
            betas (0.9, 0.99), warmup 300 and ema_decay 0.999.
    """

    frozen = ("perceptual",)

    def __init__(
        self,
        network: nn.Module,
        batches: Callable[[int], Tensor],
        hole_masks: MaskDistribution,
        validation_images: Tensor,
        validation_masks: Mapping[str, MaskDistribution],
        perceptual: PerceptualDistance | None = None,
        perceptual_weight: float = 0.1,
        perceptual_from: int = 0,
        perceptual_every: int = 1,
        clip: float = 1.0,
        workers: int = 1,
        seed: int = 0,
        **optimisation: Any,
    ) -> None:
        network = network.to(memory_format=torch.channels_last)
        super().__init__(network, **{**OPTIMISATION, **optimisation})
        self.automatic_optimization = False
        self.batches = batches
        self.hole_masks = hole_masks
        self.validation_images = validation_images
        self.validation_masks = dict(validation_masks)
        self.perceptual = perceptual
        self.perceptual_weight = perceptual_weight
        self.perceptual_from = perceptual_from
        self.perceptual_every = perceptual_every
        self.clip = clip
        self.workers = workers
        self.seed = seed

    def train_dataloader(self) -> BatchLoader:
        """The batches that are left."""
        return BatchLoader(self.batches, self.global_step, self.steps)

    def masks(self, distribution: MaskDistribution, images: Tensor, purpose: str) -> Tensor:
        """Draw masks of a distribution for images, from (seed, purpose) alone, on the CPU.

        Raises:
            ValueError: If the distribution gives none without a photo's boxes.
        """
        generator = torch.Generator().manual_seed(image_seed(self.seed, purpose, "hole_masks"))
        n, _, h, w = images.shape
        keep = distribution.sample(n, (h, w), generator)
        if keep is None:
            raise ValueError(f"{distribution} gives no mask without a photo's boxes")
        return keep.to(images)

    def training_step(self, image: Tensor, batch_idx: int) -> None:
        """One step on a batch of images."""
        step = self.global_step
        keep = self.masks(self.hole_masks, image, str(step))
        optimizer, schedule = cast(Any, self.optimizers()), cast(Any, self.lr_schedulers())
        for parameter, gradient in zip(
            self.network.parameters(), self.gradients(image, keep, step), strict=True
        ):
            parameter.grad = gradient
        self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()
        schedule.step()

    def gradients(self, image: Tensor, keep: Tensor, step: int) -> list[Tensor]:
        """Return the gradients of the loss for the network's parameters, in their order.

        The batch is cut into `workers` parts; every part has its own thread and graph. The
        gradients are those of the whole batch, up to rounding and the perceptual scale.
        """
        dropped = (1 - keep).sum().clamp_min(1.0)
        parameters = list(self.network.parameters())

        def part(images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
            proposal = self.network(images, kept)
            l1 = hole_l1_loss(proposal, images, kept) * (1 - kept).sum() / dropped
            distance = self.perceptual_term(proposal, images, kept, step) * len(kept) / len(keep)
            loss = l1 + self.perceptual_weight * self.perceptual_every * distance
            return l1.detach(), distance.detach(), torch.autograd.grad(loss, parameters)

        pieces = [x.chunk(self.workers) for x in (image, keep)]
        if self.workers == 1:
            results = [part(image, keep)]
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                results = list(pool.map(part, *pieces))
        l1s, distances, gradients = zip(*results, strict=True)
        self.log("train/hole_l1", sum(l1s), batch_size=1)
        if self.perceptual_at(step):
            self.log("train/perceptual", sum(distances), batch_size=1)
        return [torch.stack(shares).sum(0) for shares in zip(*gradients, strict=True)]

    def perceptual_at(self, step: int) -> bool:
        """Whether the loss of this step has its second term."""
        due = step >= self.perceptual_from and step % self.perceptual_every == 0
        return due and self.perceptual is not None

    def perceptual_term(self, proposal: Tensor, image: Tensor, keep: Tensor, step: int) -> Tensor:
        """Perceptual distance of the composed image, or 0 if the step has no such term."""
        if self.perceptual is None or not self.perceptual_at(step):
            return torch.zeros((), device=image.device)
        distance: Tensor = self.perceptual(keep * image + (1 - keep) * proposal, image)
        return distance

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log hole L1 of the averaged weights for every distribution, on fixed masks."""
        for name, value in self.evaluate(self.fill).items():
            self.log(f"val/{name}", value, batch_size=1)

    def fill(self, image: Tensor, keep: Tensor) -> Tensor:
        """Return (n, 3, h, w) proposals of the averaged weights."""
        proposal: Tensor = self.ema(image, keep)
        return proposal

    @torch.no_grad()
    def evaluate(self, fill: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
        """Return hole L1 of a fill function on the validation images, by distribution."""
        result = {}
        for name, distribution in self.validation_masks.items():
            keep = self.masks(distribution, self.validation_images, f"validation {name}")
            total = 0.0
            for start in range(0, len(keep), 16):
                image = self.validation_images[start : start + 16].to(self.device)
                kept = keep[start : start + 16].to(self.device)
                proposal = fill(image, kept).clamp(0, 1)
                total += float(hole_l1_loss(proposal, image, kept) * (1 - kept).sum())
            result[name] = total / float((1 - keep).sum().clamp_min(1.0))
        return result
