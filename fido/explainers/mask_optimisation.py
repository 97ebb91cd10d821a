"""The optimisation of one batch of independent masks, as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fido.masks.concrete import composite
from fido.masks.objectives import Objective
from fido.masks.sparsity import SparsitySearch
from fido.runtime.noise import ImageNoise

Infill = Callable[[Tensor, Tensor, ImageNoise | None], Tensor]
ScoreFunction = Callable[[Tensor, Tensor], Tensor]

CHECK_EVERY = 4  # steps between two looks at the region of now, where the sparsity is searched for


class LearnedMask(Protocol):
    """The masks of b images, an nn.Module: a distribution over keep-masks, or one mask each."""

    def sample(self, samples: int, noise: ImageNoise, progress: float) -> Tensor:
        """(b * samples, 1, h, w) masks in [0, 1] with gradient; row r is of image r // samples.

        `progress` is the share of the steps that are done, from 0 to 1.
        """
        ...

    def binarize(self, keep: Tensor) -> Tensor:
        """Zeros and ones, without gradient: which pixels of a sample the infiller is shown."""
        ...

    def keep_prob(self, progress: float) -> Tensor:
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
        objective: SSR, SDR or both.
        infill: `Infiller.infill`.
        score: (rows, 3, h, w), (rows,) -> (rows,) log-odds in nats: `Classifier.log_odds`.
        mask_noise: The images' random numbers for the masks.
        infill_noise: The images' random numbers for the infiller, or None if it needs none.
        samples: Number s of masks per image and step.
        steps: Number of steps.
        learning_rate: Learning rate of Adam; falls linearly to 0 over the steps.
        on_step: Called after every step with its index and the newest entries of the curves.

    Attributes:
        curves: "loss", "score" (mean log-odds of the drawn masks), "area", each a list of (b,)
            tensors, one per step; "score_removed" of their complements where both are scored, and
            "sparsity" where it is searched for.
        cost: Rows so far of one image: "forward", "backward", "infill".

    Source: Chang et al. 2019, section 3 and appendix.
    """

    def __init__(
        self,
        image: Tensor,
        target: Tensor,
        mask: LearnedMask,
        objective: Objective,
        infill: Infill,
        score: ScoreFunction,
        mask_noise: ImageNoise,
        infill_noise: ImageNoise | None,
        samples: int,
        steps: int,
        learning_rate: float,
        on_step: Callable[[int, dict[str, Tensor]], None] | None = None,
    ) -> None:
        super().__init__()
        self.image = image
        self.target = target
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
        self.curves: dict[str, list[Tensor]] = {}
        self.cost = {"forward": 0, "backward": 0, "infill": 0}
        self.photo: Tensor | None = None
        self.search: SparsitySearch | None = None
        if objective.needs_photo:
            with torch.no_grad():
                self.photo = score(image, target)
            self.cost["forward"] += 1
            if objective.sparsity == "auto":
                pixels = image.shape[-2] * image.shape[-1]
                self.search = SparsitySearch(objective, self.photo, pixels)

    def training_step(self, step: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one step, summed over the images, and extend the curves."""
        progress = int(step) / max(self.steps - 1, 1)
        if self.search is not None and int(step) % CHECK_EVERY == 0:
            self._search_sparsity(self.search, progress)

        # Draw relaxed masks, infill what their binary versions drop, and score the mixed images.
        keep = self.mask.sample(self.samples, self.mask_noise, progress)
        rows = self._log_odds(self.objective.views(keep, self.samples))
        self.cost["backward"] += len(rows) // len(self.image)

        # Average over the samples of an image, and weigh the score against the region's size.
        views = rows.view(len(self.image), -1, self.samples)
        score = self.objective.rated(views, self.photo).reshape(-1, self.samples).mean(1)
        keep_prob = self.mask.keep_prob(progress)
        sparsity = None if self.search is None else self.search.value
        loss = self.objective.loss(score, keep_prob, int(step), sparsity)

        # Extend the curves.
        newest = {
            "loss": loss.detach(),
            "score": views.detach()[:, 0].mean(1),
            "area": self.objective.saliency(keep_prob.detach()).mean((1, 2, 3)),
        }
        if views.shape[1] > 1:
            newest["score_removed"] = views.detach()[:, 1].mean(1)
        if sparsity is not None:
            newest["sparsity"] = sparsity
        for name, values in newest.items():
            self.curves.setdefault(name, []).append(values)
        if self.on_step is not None:
            self.on_step(int(step), newest)

        # A sum, so that the gradient of an image's mask does not depend on the other images.
        return loss.sum()

    def _log_odds(self, keep: Tensor) -> Tensor:
        """(b * n, 1, h, w) masks -> (b * n,) log-odds of the mixed images."""
        infill = self.infill(self.image, self.mask.binarize(keep), self.infill_noise)
        each = len(keep) // len(self.image)
        self.cost["forward"] += each
        self.cost["infill"] += each
        return self.score(composite(self.image, keep, infill), self.target.repeat_interleave(each))

    @torch.no_grad()
    def _search_sparsity(self, search: SparsitySearch, progress: float) -> None:
        """Score the region as if the map were final, and move the sparsity."""
        keep_prob = self.mask.final_keep_prob()
        region = (self.objective.saliency(keep_prob) > 0.5).float()
        search.update(self._log_odds(search.masks(region)), region, keep_prob, progress)

    def final_keep_prob(self) -> Tensor:
        """(b, 1, h, w) the maps to show and to save, without gradient; call it after the steps."""
        if self.search is None:
            return self.mask.final_keep_prob()
        self._search_sparsity(self.search, progress=1.0)
        return self.search.result(self.mask.final_keep_prob())

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
