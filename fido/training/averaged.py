"""The base class of trainings: AdamW with a schedule by steps, and an average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Return the factor of the learning rate at `step`: linear rise, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


class AveragedTraining(pl.LightningModule):
    """A training whose learning rate depends on the step only and that averages the weights.

    The average is part of the state, so that an interrupted training goes on exactly. Submodules
    that are named in `frozen` are moved to the device with the rest, but are neither trained nor
    part of a checkpoint.

    Args:
        network: To be trained; `ema` is the average of its parameters.
        steps: Optimiser steps of the whole training.
        learning_rate: Highest learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        betas: Decay rates of AdamW's averages of the gradient and its square.
        warmup: Steps of linear rise; half a cosine follows, to 0.
        ema_decay: Decay per step of the average of the weights.
    """

    network: nn.Module
    ema: nn.Module
    frozen: tuple[str, ...] = ()
    """Names of the submodules that are not trained."""

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float],
        warmup: int,
        ema_decay: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.ema = copy.deepcopy(network).requires_grad_(False)
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.betas = betas
        self.warmup = warmup
        self.ema_decay = ema_decay

    def train_dataloader(self) -> Any:
        """One number for each step; a subclass that is given batches overrides it."""
        return range(self.steps)

    def val_dataloader(self) -> Any:
        """One pass: a validation evaluates all of its images at once."""
        return range(1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen submodules out."""
        for key in [*checkpoint["state_dict"]]:
            if key.split(".")[0] in self.frozen:
                del checkpoint["state_dict"][key]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take frozen submodules as they are."""
        for key, value in self.state_dict().items():
            if key.split(".")[0] in self.frozen:
                checkpoint["state_dict"][key] = value

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, self.warmup, self.steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average; a short memory at first, when the weights change fast."""
        decay = min(self.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        averages = [p.data for p in self.ema.parameters()]
        torch._foreach_lerp_(averages, [p.data for p in self.network.parameters()], 1 - decay)
