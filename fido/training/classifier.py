"""Training of an image classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
)

from fido.runtime.noise import image_seed
from fido.training.augmentation import CutMix
from fido.training.averaged import AveragedTraining


class ClassifierTraining(AveragedTraining):
    """Trains network(normalised images) -> logits by cross-entropy.

    The batch of a step, its mixing and the network's dropout are functions of (seed, step) alone,
    so that an interrupted training goes on exactly.

    Args:
        network: From `num_classes` to a network that maps (n, 3, side, side) normalised images to
            (n, num_classes) logits, e.g. `functools.partial(timm.create_model, "resnet18")`.
        batches: From a step to its (n, 3, side, side) images in [0, 1] and (n,) class indices.
        validation_images: (n, 3, side, side) in [0, 1], never trained on.
        validation_labels: (n,) their class indices.
        classes: Names of the network's outputs.
        steps: Optimiser steps of the whole training, for the schedule.
        mean: Per-channel mean that is subtracted from images, in [0, 1] units.
        std: Per-channel standard deviation that they are divided by.
        mixing: Mixes photos and labels of a batch, or None.
        mix_until: Share of the steps after which batches are no longer mixed, in [0, 1]: mixed
            labels teach too little confidence, which the last steps correct.
        label_smoothing: Share of a target that is spread over all classes, in [0, 1).
        learning_rate: Highest learning rate of AdamW.
        weight_decay: AdamW's decay.
        warmup: Steps of linear rise.
        ema_decay: Decay a step of the average of the weights.
        seed: Seed of mixing and dropout.

    Raises:
        ValueError: If an argument is out of range, or the network's output has another shape.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        batches: Callable[[int], tuple[Tensor, Tensor]],
        validation_images: Tensor,
        validation_labels: Tensor,
        classes: Sequence[str],
        steps: int,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        mixing: CutMix | None = None,
        mix_until: float = 1.0,
        label_smoothing: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        warmup: int = 200,
        ema_decay: float = 0.998,
        seed: int = 0,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"training.label_smoothing must lie in [0, 1), got {label_smoothing}")
        if not 0 <= mix_until <= 1:
            raise ValueError(f"training.mix_until must lie in [0, 1], got {mix_until}")
        built = network(num_classes=len(classes)).to(memory_format=torch.channels_last)
        super().__init__(built, steps, learning_rate, weight_decay, (0.9, 0.99), warmup, ema_decay)
        self.batches = batches
        self.validation_images = validation_images
        self.validation_labels = validation_labels
        self.classes = list(classes)
        self.mixing = mixing
        self.mix_until = mix_until
        self.label_smoothing = label_smoothing
        self.seed = seed
        # Not persistent: they are settings, not state.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._check_outputs()

    mean: Tensor
    std: Tensor

    def _check_outputs(self) -> None:
        self.ema.eval()
        with torch.no_grad():
            outputs = self.ema(self.normalised(self.validation_images[:1])).shape
        self.ema.train()
        if outputs != (1, len(self.classes)):
            raise ValueError(
                f"the network returns {tuple(outputs)} for one image, expected logits of shape "
                f"{(1, len(self.classes))}"
            )

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the network takes them."""
        images = (images.to(self.mean.device) - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of the batch of the current step; what the loader yields is not looked at."""
        step = self.global_step
        images, labels = self.batches(step)
        targets = one_hot(labels, len(self.classes)).float()
        if self.mixing is not None and step < self.mix_until * self.steps:
            draw = np.random.default_rng(image_seed(self.seed, str(step), "mixing"))
            images, targets = self.mixing(images, targets, draw)
        torch.manual_seed(image_seed(self.seed, str(step), "dropout"))
        logits = self.network(self.normalised(images)).float()
        loss = cross_entropy(
            logits, targets.to(logits.device), label_smoothing=self.label_smoothing
        )
        self.log("train/loss", loss.detach(), batch_size=1)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the averages, of batch normalisation's statistics, too."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        decay = min(self.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        for average, newest in zip(self.ema.buffers(), self.network.buffers(), strict=True):
            if average.is_floating_point():
                average.lerp_(newest, 1 - decay)
            else:
                average.copy_(newest)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Held-out values of the averaged weights."""
        for name, value in self.evaluate().items():
            self.log(f"val/{name}", value, batch_size=1)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out accuracy, cross-entropy in nats and calibration error of the averaged weights.

        The calibration error is the expected one over 15 bins of the highest probability (Guo et
        al. 2017, equation 3).
        """
        self.ema.eval()
        images = self.validation_images
        parts = [images[i : i + 64] for i in range(0, len(images), 64)]
        logits = torch.cat([self.ema(self.normalised(part)).float() for part in parts])
        labels, classes = self.validation_labels.to(logits.device), len(self.classes)
        probabilities = logits.softmax(1)
        return {
            "accuracy": float(multiclass_accuracy(logits, labels, classes, average="micro")),
            "loss": float(cross_entropy(logits, labels)),
            "calibration_error": float(
                multiclass_calibration_error(probabilities, labels, classes, n_bins=15)
            ),
        }
