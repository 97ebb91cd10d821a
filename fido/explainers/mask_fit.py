"""From samples to explanations by learning one mask an image: what FIDO and BBMP share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.explainers.mask_optimisation import LearnedMask, MaskOptimisation
from fido.infillers.base import Infiller
from fido.masks.concrete import binarize
from fido.masks.objectives import Objective
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.noise import ImageNoise


class MaskFit:
    """Learns the masks of samples side by side and turns them into explanations.

    Args:
        new_mask: (number of images, (h, w)) -> masks to learn.
        classifier: What is explained.
        infiller: What stands in for dropped pixels.
        objective: SSR or SDR.
        samples: Masks drawn an image and step.
        steps: Optimisation steps.
        learning_rate: Adam's, falling linearly to 0.
        seed: Of the masks' and the infiller's random numbers.
        progress: Told of every step.
        binarize: See `MaskOptimisation`.
        batches: Cuts images times masks into pieces; None cuts as suits the device. On a CPU 4
            images of 8 masks side by side took more than twice as long as one after the other.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        new_mask: Callable[[int, tuple[int, int]], LearnedMask],
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        samples: int,
        steps: int,
        learning_rate: float,
        seed: int,
        progress: Progress | None,
        binarize: Callable[[Tensor], Tensor] = binarize,
        batches: Batches | None = None,
    ) -> None:
        for name, value in (("samples", samples), ("steps", steps)):
            if value < 1:
                raise ValueError(f"explainer.{name} must be 1 or more, got {value}")
        if learning_rate <= 0:
            raise ValueError(f"explainer.learning_rate must be above 0, got {learning_rate}")
        self.new_mask = new_mask
        self.classifier = classifier
        self.infiller = infiller
        self.objective = objective
        self.samples = samples
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.progress = progress
        self.binarize = binarize
        self.batches = batches or Batches(None, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """One explanation a sample, in order."""
        parts = self.batches(
            len(samples), lambda start, stop: self._explain(samples[start:stop]), self.samples
        )
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """All samples in one fit."""
        device = self.classifier.device
        batch = collate(samples, device)
        mask = self.new_mask(len(samples), batch.size).to(device)
        fit = self._optimisation(batch, mask)
        _run(fit, self.steps, device)
        rows = self.samples * self.steps
        keep_prob = mask.final_keep_prob().cpu()
        return [
            Explanation(
                id=batch.ids[i],
                target=int(batch.target[i]),
                saliency=self.objective.saliency(keep_prob[i]),
                keep_prob=keep_prob[i],
                history=history,
                cost={"forward": rows, "backward": rows, "infill": rows},
                failure=_failure(keep_prob[i], history),
            )
            for i, history in enumerate(fit.history())
        ]

    def _optimisation(self, batch: SampleBatch, mask: LearnedMask) -> MaskOptimisation:
        def noise(purpose: str) -> ImageNoise:
            return ImageNoise(self.seed, batch.ids, purpose, batch.image.device)

        return MaskOptimisation(
            batch.image,
            batch.target,
            mask,
            self.objective,
            self.infiller.infill,
            self.classifier.log_odds,
            noise("mask"),
            noise("infill") if self.infiller.needs_noise else None,
            self.samples,
            self.steps,
            self.learning_rate,
            on_step=self._on_step(batch.ids),
            binarize=self.binarize,
        )

    def _on_step(self, ids: Sequence[str]) -> Callable[[int, dict[str, Tensor]], None] | None:
        progress = self.progress
        if progress is None:
            return None
        return lambda step, newest: progress(ids, step + 1, self.steps, newest)


def _failure(keep_prob: Tensor, history: Mapping[str, Tensor]) -> str | None:
    """Why a map is unusable, or None."""
    bad = (~history["loss"].isfinite()).nonzero()
    if len(bad):
        return f"the loss is not finite from step {int(bad[0])} on"
    if not bool(keep_prob.isfinite().all()):
        return "the mask is not finite"
    return None


def _run(module: MaskOptimisation, steps: int, device: torch.device) -> None:
    """One epoch of `steps` steps, with nothing written and nothing printed."""
    # Lightning announces devices and tips for every Trainer: once an image is too often.
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning's, about a torch function of its own; nothing that a reader could act on.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        try:
            trainer = pl.Trainer(
                accelerator={"cuda": "gpu"}.get(device.type, device.type),
                devices=[device.index or 0] if device.type == "cuda" else 1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, range(steps))
        finally:
            log.setLevel(level)
    if trainer.interrupted:
        raise KeyboardInterrupt
