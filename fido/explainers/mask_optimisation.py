"""The optimisation of one batch of independent masks, as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fido.masks.concrete import composite
from fido.masks.objectives import Objective
from fido.runtime.noise import ImageNoise

Infill = Callable[[Tensor, Tensor, ImageNoise | None], Tensor]
Score = Callable[[Tensor, Tensor], Tensor]


class LearnedMask(Protocol):
    """The masks of b images, an nn.Module: a distribution over keep-masks, or one mask each."""

    def sample(self, samples: int, noise: ImageNoise) -> Tensor:
        """(b * samples, 1, h, w) masks in [0, 1] with gradient; row r is of image r // samples."""
        ...

    def binarize(self, keep: Tensor) -> Tensor:
        """Zeros and ones, without gradient: which pixels of a sample the infiller is shown."""
        ...

    def keep_prob(self) -> Tensor:
        """(b, 1, h, w) what the objective's penalties act on, with gradient."""
        ...

    def final_keep_prob(self) -> Tensor:
        """(b, 1, h, w) the map to show and to save, without gradient."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters to learn."""
        ...

    def to(self, device: torch.device) -> Self:
        """Move the masks to a device."""
        ...


class MaskOptimisation(pl.LightningModule):
    """Optimise the masks of b images at once, each as if it were alone.

    Every step draws s masks per image, infills what their binary versions drop, mixes image and
    infill with the masks, scores the class, and takes one Adam step on the objective. The loss
    is a sum over images and Adam is elementwise, so an image's map is that of a run of its own.
    Give it `range(steps)` as training data: an item is the index of its step.

    It holds bound methods, not networks, so that its state_dict is the masks alone and Lightning
    moves nothing else.

    Args:
        image: (b, 3, h, w) in [0, 1].
        target: (b,) class indices.
        mask: The masks to learn.
        objective: SSR or SDR.
        infill: `Infiller.infill`.
        score: (rows, 3, h, w), (rows,) -> (rows,) nats, e.g. `Classifier.log_odds`.
        mask_noise: The images' random numbers for the masks.
        infill_noise: The images' random numbers for the infiller, or None if it needs none.
        samples: Number s of masks per image and step.
        steps: Number of steps.
        learning_rate: Learning rate of Adam; falls linearly to 0 over the steps.
        on_step: Called after every step with its index and the newest entries of the curves.

    Attributes:
        curves: "loss", "score", "area", each a list of (b,) tensors, one per step.

    Source: Chang et al. 2019, section 3 and appendix.
    """

    def __init__(
        self,
        image: Tensor,
        target: Tensor,
        mask: LearnedMask,
        objective: Objective,
        infill: Infill,
        score: Score,
        mask_noise: ImageNoise,
        infill_noise: ImageNoise | None,
        samples: int,
        steps: int,
        learning_rate: float,
        on_step: Callable[[int, dict[str, Tensor]], None] | None = None,
    ) -> None:
        super().__init__()
        self.image = image
        self.target = target.repeat_interleave(samples)
        self.mask = mask
        self.objective = objective
        self.infill = infill
        self.score = score
        self.mask_noise = mask_noise
        self.infill_noise = infill_noise
        self.samples = samples
        self.steps = steps
        self.learning_rate = learning_rate
        self.on_step = on_step
        self.curves: dict[str, list[Tensor]] = {"loss": [], "score": [], "area": []}

    def training_step(self, step: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one step, summed over the images, and extend the curves."""
        # Draw relaxed masks, and infill what their binary versions drop.
        keep = self.mask.sample(self.samples, self.mask_noise)
        infill = self.infill(self.image, self.mask.binarize(keep), self.infill_noise)

        # Score the mixed images, averaged over the samples of an image.
        rows = self.score(composite(self.image, keep, infill), self.target)
        score = rows.view(-1, self.samples).mean(1)

        # Weigh the score against the size of the region.
        keep_prob = self.mask.keep_prob()
        loss = self.objective.loss(score, keep_prob, int(step))

        # Extend the curves.
        newest = {
            "loss": loss.detach(),
            "score": score.detach(),
            "area": self.objective.saliency(keep_prob.detach()).mean((1, 2, 3)),
        }
        for name, values in newest.items():
            self.curves[name].append(values)
        if self.on_step is not None:
            self.on_step(int(step), newest)

        # A sum, so that the gradient of an image's mask does not depend on the other images.
        return loss.sum()

    def configure_optimizers(self) -> Any:
        """Return Adam with a learning rate that falls linearly to 0."""
        optimizer = torch.optim.Adam(self.mask.parameters(), lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": decay, "interval": "step"},
        }

    def history(self) -> list[dict[str, Tensor]]:
        """Return the curves of every image, (steps,) float32 tensors on the CPU."""
        stacked = {name: torch.stack(values).float().cpu() for name, values in self.curves.items()}
        images = self.image.shape[0]
        return [{name: curve[:, i] for name, curve in stacked.items()} for i in range(images)]
