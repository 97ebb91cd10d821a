"""The optimisation of one batch of independent masks, as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fido.masks.concrete import composite
from fido.masks.leave_one_out import leave_one_out
from fido.masks.objectives import Objective
from fido.masks.patience import Patience
from fido.masks.sparsity import SparsitySearch
from fido.runtime.noise import ImageNoise

Infill = Callable[[Tensor, Tensor, ImageNoise | None], Tensor]
ScoreFunction = Callable[[Tensor, Tensor], Tensor]
Gradient = Literal["relaxed", "leave_one_out"]

CHECK_EVERY = 4  # steps between two looks at the region of now, by search and by patience


class LearnedMask(Protocol):
    """The masks of b images, an nn.Module: a distribution over keep-masks, or one mask each."""

    def sample(self, samples: int, noise: ImageNoise, progress: float) -> Tensor:
        """(b * samples, 1, h, w) masks in [0, 1] with gradient; row r is of image r // samples.

        `progress` is the share of the steps that are done, from 0 to 1.
        """
        ...

    def draw(self, samples: int, noise: ImageNoise, progress: float) -> tuple[Tensor, Tensor]:
        """(b * samples, 1, h, w) of zeros and ones and their (b * samples,) log probability."""
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
        gradient: "relaxed": through relaxed masks, infills and classifier. "leave_one_out": of
            the expected score of binary masks, from the scores alone; see `leave_one_out`.
        patience: Steps without a change of its region, beyond 2 % of its pixels, after which an
            image is done; None goes through all steps.
        on_step: Called after every step with its index and the newest entries of the curves.

    Attributes:
        curves: "loss", "score" (mean log-odds of the drawn masks), "area", each a list of (b,)
            tensors, one per step; "score_removed" of their complements where both are scored, and
            "sparsity" where it is searched for.
        cost: Rows so far, (b,) each: "forward", "backward", "infill".

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
        gradient: Gradient = "relaxed",
        patience: int | None = None,
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
        self.gradient = gradient
        self.on_step = on_step
        self.curves: dict[str, list[Tensor]] = {}
        images = len(image)
        self.cost = {
            name: torch.zeros(images, dtype=torch.long)
            for name in ("forward", "backward", "infill")
        }
        self.running = list(range(images))
        self.patience = None if patience is None else Patience(patience, images)
        self._done: dict[int, tuple[int, Tensor]] = {}  # image to its steps and its map
        self.photo: Tensor | None = None
        self.erased: Tensor | None = None
        self.search: SparsitySearch | None = None
        if objective.needs_photo:
            with torch.no_grad():
                self.photo = score(image, target)
                self.cost["forward"] += 1
                if objective.needs_erased:
                    self.erased = self._log_odds(torch.zeros_like(image[:, :1]))
            if objective.sparsity == "auto":
                pixels = image.shape[-2] * image.shape[-1]
                self.search = SparsitySearch(objective, self.photo, pixels, self.erased)

    def training_step(self, step: Tensor, batch_idx: int) -> Tensor | None:
        """Return the loss of one step, summed over the images, and extend the curves.

        None, which ends the steps, when all images are done.
        """
        progress = int(step) / max(self.steps - 1, 1)
        if self.search is not None and int(step) % CHECK_EVERY == 0:
            self._search_sparsity(self.search, progress)
        if self.patience is not None and int(step) % CHECK_EVERY == 0:
            self._stop_the_settled(self.patience, int(step))
            if not self.running:
                self.trainer.should_stop = True
                return None

        # Draw masks, infill what their binary versions drop, and score the mixed images.
        log_prob = None
        if self.gradient == "relaxed":
            keep = self.mask.sample(self.samples, self.mask_noise, progress)
            rows = self._log_odds(self.objective.views(keep, self.samples))
            self.cost["backward"][self.running] += len(rows) // len(self.image)
        else:
            keep, log_prob = self.mask.draw(self.samples, self.mask_noise, progress)
            with torch.no_grad():
                rows = self._log_odds(self.objective.views(keep, self.samples))

        # Average over the samples of an image, and weigh the score against the region's size.
        views = rows.view(len(self.image), -1, self.samples)
        rated = self.objective.rated(views, self.photo, self.erased)
        score = rated.reshape(-1, self.samples).mean(1)
        keep_prob = self.mask.keep_prob(progress)
        sparsity = None if self.search is None else self.search.value
        loss = self.objective.loss(score, keep_prob, int(step), sparsity)
        if log_prob is not None:
            terms = self.objective.class_term(rated.transpose(1, 2).flatten())
            loss = loss + leave_one_out(terms.view(-1, self.samples), log_prob)

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
        """(b * n, 1, h, w) masks -> (b * n,) log-odds of the mixed images; 0 of images done."""
        images, each = len(self.image), len(keep) // len(self.image)
        image, target, noise = self.image, self.target, self.infill_noise
        if len(self.running) < images:
            keep = keep.view(images, each, *keep.shape[1:])[self.running].flatten(0, 1)
            image, target = image[self.running], target[self.running]
            noise = None if noise is None else noise.of(self.running)
        infill = self.infill(image, self.mask.binarize(keep), noise)
        self.cost["forward"][self.running] += each
        self.cost["infill"][self.running] += each
        score = self.score(composite(image, keep, infill), target.repeat_interleave(each))
        if len(self.running) == images:
            return score
        every = score.new_zeros(images, each)
        every[self.running] = score.view(-1, each)
        return every.flatten()

    @torch.no_grad()
    def _search_sparsity(self, search: SparsitySearch, progress: float) -> None:
        """Score the region as if the map were final, and move the sparsity."""
        keep_prob = self.mask.final_keep_prob()
        region = (self.objective.saliency(keep_prob) > 0.5).float()
        search.update(self._log_odds(search.masks(region)), region, keep_prob, progress)

    @torch.no_grad()
    def _stop_the_settled(self, patience: Patience, step: int) -> None:
        """Take images whose region has settled out of the optimisation, with the map of now."""
        maps = self._maps()
        settled = patience.settled(self.objective.saliency(maps) > 0.5, step)
        for image in [image for image in self.running if settled[image]]:
            self._done[image] = (step, maps[image])
            self.running.remove(image)

    def _maps(self) -> Tensor:
        """(b, 1, h, w) the maps, if the steps ended now."""
        maps = self.mask.final_keep_prob()
        return maps if self.search is None else self.search.result(maps)

    def final_keep_prob(self) -> Tensor:
        """(b, 1, h, w) the maps to show and to save, without gradient; call it after the steps."""
        if self.search is not None and self.running:
            self._search_sparsity(self.search, progress=1.0)
        maps = self._maps()
        for image, (_, done) in self._done.items():
            maps[image] = done
        return maps

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
        lengths = [self._done.get(image, (None,))[0] for image in range(len(self.image))]
        return [
            {name: curve[:length, image] for name, curve in stacked.items()}
            for image, length in enumerate(lengths)
        ]
