"""FIDO: learned Bernoulli masks over infilled pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress
from fido.infillers.base import Infiller
from fido.mask import ConcreteMask
from fido.mask_optimisation import MaskOptimisation
from fido.noise import ImageNoise
from fido.objectives import Objective
from fido.records import Explanation, Sample


class Fido:
    """Finds the smallest region that keeps a class (SSR) or whose loss destroys it (SDR).

    Args:
        classifier: What is explained.
        infiller: What stands in for dropped pixels.
        objective: SSR or SDR.
        mask: Settings of `ConcreteMask` by name (grid, temperature, ...).
        samples: Masks drawn an image and step.
        steps: Optimisation steps.
        learning_rate: Adam's, falling linearly to 0.
        seed: Of the masks' and the infiller's random numbers.
        progress: Told of every step; see `Progress`.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        mask: Mapping[str, Any],
        samples: int = 8,
        steps: int = 300,
        learning_rate: float = 0.05,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        for name, value in (("samples", samples), ("steps", steps)):
            if value < 1:
                raise ValueError(f"explainer.{name} must be 1 or more, got {value}")
        if learning_rate <= 0:
            raise ValueError(f"explainer.learning_rate must be above 0, got {learning_rate}")
        self.classifier = classifier
        self.infiller = infiller
        self.objective = objective
        self.mask = dict(mask)
        self.samples = samples
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.progress = progress

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; all samples are optimised in one fit."""
        ids = [sample.id for sample in samples]
        image = torch.stack([sample.image for sample in samples])
        device = self.classifier.device
        mask = ConcreteMask(len(samples), (image.shape[-2], image.shape[-1]), **self.mask)
        fit = MaskOptimisation(
            image.to(device),
            torch.tensor([_target(sample) for sample in samples], device=device),
            mask.to(device),
            self.objective,
            self.infiller.infill,
            self.classifier.log_odds,
            ImageNoise(self.seed, ids, "mask", device),
            ImageNoise(self.seed, ids, "infill", device) if self.infiller.needs_noise else None,
            self.samples,
            self.steps,
            self.learning_rate,
            on_step=self._on_step(ids),
        )
        _fit(fit, self.steps, device)
        rows = self.samples * self.steps
        cost = {"forward": rows, "backward": rows, "infill": rows}
        keep_prob = fit.mask.final_keep_prob().cpu()
        return [
            Explanation(
                id=sample.id,
                target=_target(sample),
                saliency=self.objective.saliency(keep_prob[i]),
                keep_prob=keep_prob[i],
                history=history,
                cost=cost,
                failure=_failure(keep_prob[i], history),
            )
            for i, (sample, history) in enumerate(zip(samples, fit.history(), strict=True))
        ]

    def _on_step(self, ids: Sequence[str]) -> Callable[[int, dict[str, Tensor]], None] | None:
        progress = self.progress
        if progress is None:
            return None
        return lambda step, newest: progress(ids, step + 1, self.steps, newest)


def _target(sample: Sample) -> int:
    if sample.target is None:
        raise ValueError(f"sample {sample.id!r} has no target; see fido.target.resolve_target")
    return sample.target


def _failure(keep_prob: Tensor, history: Mapping[str, Tensor]) -> str | None:
    """Why a map is unusable, or None."""
    bad = (~history["loss"].isfinite()).nonzero()
    if len(bad):
        return f"the loss is not finite from step {int(bad[0])} on"
    if not bool(keep_prob.isfinite().all()):
        return "the mask is not finite"
    return None


def _fit(module: MaskOptimisation, steps: int, device: torch.device) -> None:
    """One epoch of `steps` steps, with nothing written and nothing printed."""
    # Lightning announces devices and tips for every Trainer: once an image is too often.
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
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
