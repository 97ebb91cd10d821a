"""FIDO and BBMP: masks over infilled pixels, learned by gradient."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.explainers.mask_optimisation import LearnedMask, MaskOptimisation
from fido.infillers.base import Infiller
from fido.masks.objectives import Objective
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_above, check_at_least
from fido.runtime.noise import ImageNoise
from fido.runtime.trainer_environment import own_environment


class Fido:
    """Find the smallest region that keeps a class (SSR) or whose loss destroys it (SDR).

    The mask makes the method: with `ConcreteMask`, a distribution over keep-masks of which several
    are drawn in every step, it is FIDO; with `PointMask`, one soft mask that starts at 1, it is
    BBMP (black-box meaningful perturbation). The map is the objective's `saliency` of the learned
    mask, with threshold 0.5.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped pixels.
        objective: SSR, SDR or both.
        mask: Makes the masks of an optimisation from the number of images and their (h, w):
            `ConcreteMask` or `PointMask`, their other arguments bound by `functools.partial`.
        samples: Masks drawn per image and step; one is enough for `PointMask`. With both
            objectives each is scored twice.
        steps: Optimisation steps.
        learning_rate: Learning rate of Adam, falling linearly to 0.
        seed: Seed of the masks' and the infiller's random numbers.
        progress: Called after every step; see `Progress`.
        rows_per_pass: Images times samples that are optimised side by side; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019; BBMP is its algorithm 1.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        mask: Callable[[int, tuple[int, int]], LearnedMask],
        samples: int = 8,
        steps: int = 300,
        learning_rate: float = 0.05,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", samples=samples, steps=steps)
        check_above(0, "explainer", learning_rate=learning_rate)
        self.classifier = classifier
        self.infiller = infiller
        self.objective = objective
        self.mask = mask
        self.samples = samples
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.progress = progress
        # On a CPU, 4 images of 8 masks side by side take more than twice as long as one by one.
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; as many images are optimised together as fit into a pass."""
        rows = self.samples * len(self.objective.signs)
        parts = self.batches(
            len(samples), lambda start, stop: self._explain(samples[start:stop]), rows
        )
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """One optimisation of all samples."""
        # Put the images side by side and give each a mask.
        batch = collate(samples, self.classifier.device)
        mask = self.mask(len(samples), batch.size).to(self.classifier.device)

        # Learn the masks.
        optimisation = self._optimisation(batch, mask)
        _run(optimisation, self.steps, self.classifier.device)

        # Read the maps off the masks.
        keep_prob = optimisation.final_keep_prob().cpu()
        return [
            Explanation(
                id=batch.ids[i],
                target=int(batch.target[i]),
                saliency=self.objective.saliency(keep_prob[i]),
                keep_prob=keep_prob[i],
                history=history,
                cost=dict(optimisation.cost),
                failure=_failure(keep_prob[i], history),
            )
            for i, history in enumerate(optimisation.history())
        ]

    def _optimisation(self, batch: SampleBatch, mask: LearnedMask) -> MaskOptimisation:
        device, needs_noise = batch.image.device, self.infiller.needs_noise
        return MaskOptimisation(
            image=batch.image,
            target=batch.target,
            mask=mask,
            objective=self.objective,
            infill=self.infiller.infill,
            score=self.classifier.log_odds,
            mask_noise=ImageNoise(self.seed, batch.ids, "mask", device),
            infill_noise=(
                ImageNoise(self.seed, batch.ids, "infill", device) if needs_noise else None
            ),
            samples=self.samples,
            steps=self.steps,
            learning_rate=self.learning_rate,
            on_step=self._on_step(batch.ids),
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
            with own_environment():
                trainer = pl.Trainer(
                    accelerator={"cuda": "gpu"}.get(device.type, device.type),
                    devices=[device.index or 0] if device.type == "cuda" else 1,
                    max_epochs=1,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    plugins=[LightningEnvironment()],  # one process, whatever SLURM's variables say
                )
            trainer.fit(module, range(steps))
        finally:
            log.setLevel(level)
    if trainer.interrupted:
        raise KeyboardInterrupt
