"""FIDO and BBMP: masks over infilled pixels, learned by gradient."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate, target_of
from fido.explainers.mask_optimisation import Gradient, LearnedMask, MaskOptimisation
from fido.infillers.base import Infiller
from fido.masks.concrete import composite
from fido.masks.levels import levels_of, smallest_level
from fido.masks.objectives import Objective
from fido.masks.sparsity import constrained_masks, slack_of
from fido.masks.specks import without_specks
from fido.masks.uncertainty import averaged, lower_bound
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_above, check_at_least, check_choice
from fido.runtime.noise import ImageNoise
from fido.runtime.trainer_environment import own_environment


class Fido:
    """Find the smallest region that keeps a class (SSR) or whose loss destroys it (SDR).

    The mask makes the method: with `ConcreteMask`, a distribution over keep-masks of which several
    are drawn in every step, it is FIDO; with `PointMask`, one soft mask that starts at 1, it is
    BBMP (black-box meaningful perturbation). The map is the objective's `saliency` of the learned
    mask, with threshold 0.5 or `level`.

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
        gradient: "relaxed", through relaxed masks and the classifier, or "leave_one_out", from
            the scores of binary masks alone: for classifiers that are a function without a
            gradient. It needs two samples or more, and is noisier.
        patience: Steps without a change of the region after which an image is done; None goes
            through all steps.
        repeats: How often every map is learned, each time from other draws. With more than one the
            map is the mean, and the explanation has its `standard_error`; see `averaged`.
        repeats_vary: What the repeats draw anew: "masks", "infills" (of an infiller that draws)
            or "all".
        level: The region is where the map exceeds this level: a number, or "auto", the highest one
            of some at which the region does what the objective's `keep_share` and `removed_share`
            ask, as far as any does.
        specks: Parts of the region that lie by themselves are left out if they carry less than
            this share of what the heaviest part carries, in [0, 1]; see `without_specks`.
        confidence: With repeats: the saliency is the value that the keep (drop) probability
            exceeds at this one-sided confidence, so that the region is what is in it at this
            confidence; None takes the mean.
        seed: Seed of the masks' and the infiller's random numbers.
        progress: Called after every step; see `Progress`.
        rows_per_pass: Images times samples that are optimised side by side; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019; BBMP is its algorithm 1.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        mask: Callable[[int, tuple[int, int]], LearnedMask],
        samples: int = 8,
        steps: int = 300,
        learning_rate: float = 0.05,
        gradient: Gradient = "relaxed",
        patience: int | None = None,
        repeats: int = 1,
        repeats_vary: Literal["all", "masks", "infills"] = "all",
        confidence: float | None = None,
        level: float | Literal["auto"] = 0.5,
        specks: float = 0.0,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", samples=samples, steps=steps)
        check_above(0, "explainer", learning_rate=learning_rate)
        check_at_least(1, "explainer", patience=patience, repeats=repeats)
        check_choice(("relaxed", "leave_one_out"), "explainer", gradient=gradient)
        check_choice(("all", "masks", "infills"), "explainer", repeats_vary=repeats_vary)
        if confidence is not None and not (0.5 <= confidence < 1 and repeats > 1):
            raise ValueError(
                "explainer.confidence must lie in [0.5, 1) and needs explainer.repeats of 2 or "
                f"more, got {confidence} with {repeats}"
            )
        if not 0 <= specks <= 1:
            raise ValueError(f"explainer.specks must lie in [0, 1], got {specks}")
        if isinstance(level, str) and level != "auto":
            raise ValueError(f"explainer.level must be a number or auto, got {level!r}")
        if level == "auto" and objective.keep_share is objective.removed_share is None:
            raise ValueError(
                "explainer.level=auto needs objective.keep_share or objective.removed_share"
            )
        if repeats > 1 and repeats_vary == "infills" and not infiller.needs_noise:
            raise ValueError(
                f"explainer.repeats_vary=infills: {type(infiller).__name__} draws no numbers, "
                "all repeats would be the same"
            )
        if gradient == "leave_one_out":
            # Each mask is compared with the others of its step.
            check_at_least(2, "explainer", samples=samples)
        self.classifier = classifier
        self.infiller = infiller
        self.objective = objective
        self.mask = mask
        self.samples = samples
        self.steps = steps
        self.learning_rate = learning_rate
        self.gradient = gradient
        self.needs_gradient = gradient == "relaxed"
        self.patience = patience
        self.repeats = repeats
        self.repeats_vary = repeats_vary
        self.confidence = confidence
        self.level = level
        self.specks = specks
        self.seed = seed
        self.progress = progress
        # On a CPU, 4 images of 8 masks side by side take more than twice as long as one by one.
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; as many images are optimised together as fit into a pass."""
        rows = self.samples * len(self.objective.signs) * self.repeats
        parts = self.batches(
            len(samples), lambda start, stop: self._explain(samples[start:stop]), rows
        )
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """One optimisation of all samples."""
        # Put the images side by side, each as often as it is repeated, and give each a mask.
        batch = collate(
            [sample for sample in samples for _ in range(self.repeats)], self.classifier
        )
        mask = self.mask(len(batch.ids), batch.size).to(self.classifier.device)

        # Learn the masks.
        optimisation = self._optimisation(batch, mask)
        _run(optimisation, self.steps, self.classifier.device)

        # Read the maps off the masks.
        maps = optimisation.final_keep_prob().cpu()
        histories = optimisation.history()
        parts = [slice(i, i + self.repeats) for i in range(0, len(maps), self.repeats)]
        return [
            self._explanation(
                sample,
                maps[part],
                histories[part],
                {name: int(rows[part].sum()) for name, rows in optimisation.cost.items()},
                None if optimisation.photo is None else optimisation.photo[part][:1],
            )
            for sample, part in zip(samples, parts, strict=True)
        ]

    def _explanation(
        self,
        sample: Sample,
        maps: Tensor,
        histories: Sequence[dict[str, Tensor]],
        cost: dict[str, int],
        photo: Tensor | None,
    ) -> Explanation:
        """The explanation of one sample from the (repeats, 1, h, w) maps that were learned.

        `photo` holds its (1,) log-odds where the objective uses them.
        """
        keep_prob, error = averaged(maps)
        saliency = self.objective.saliency(keep_prob)
        if self.confidence is not None and error is not None:
            saliency = lower_bound(saliency, error, self.confidence, self.repeats)
        threshold = self.level
        if isinstance(threshold, str):
            threshold, rows = self._level(sample, saliency, photo)
            cost = {name: cost[name] + (name != "backward") * rows for name in cost}
        history = _mean_history(histories)
        return Explanation(
            id=sample.id,
            target=target_of(sample),
            saliency=without_specks(saliency, threshold, self.specks),
            threshold=threshold,
            keep_prob=keep_prob,
            standard_error=error,
            history=history,
            cost=cost,
            failure=_failure(keep_prob, history),
        )

    @torch.no_grad()
    def _level(self, sample: Sample, saliency: Tensor, photo: Tensor | None) -> tuple[float, int]:
        """The highest level at which the region does what is asked, and the rows it took."""
        batch = collate([sample], self.classifier)
        if photo is None:
            photo = self.classifier.log_odds(batch.image, batch.target)
        asked = self.objective.bounds(photo)
        levels = levels_of(saliency)
        maps = [without_specks(saliency, float(level), self.specks) for level in levels]
        regions = (torch.stack(maps) > levels.view(-1, 1, 1, 1)).to(batch.image)
        nothing = torch.zeros_like(regions[:1])
        keep = torch.cat([constrained_masks(regions, *asked), nothing])
        name = f"{sample.id}#level"
        noise = ImageNoise(self.seed, [name], "infill", keep.device)
        infill = self.infiller.infill(batch.image, keep, noise)
        edited = composite(batch.image, keep, infill)

        def score(start: int, stop: int) -> Tensor:
            return self.classifier.log_odds(edited[start:stop], batch.target.expand(stop - start))

        log_odds = torch.cat(list(self.batches(len(edited), score)))
        bounds = self.objective.bounds(photo, log_odds[-1:])
        slack = slack_of(log_odds[:-1], *bounds).cpu()
        return smallest_level(levels, slack), len(edited)

    def _optimisation(self, batch: SampleBatch, mask: LearnedMask) -> MaskOptimisation:
        device, needs_noise = batch.image.device, self.infiller.needs_noise
        vary = {"all": ("mask", "infill"), "masks": ("mask",), "infills": ("infill",)}

        def noise(purpose: str) -> ImageNoise:
            anew = purpose in vary[self.repeats_vary]
            repeats = [i % self.repeats if anew else 0 for i in range(len(batch.ids))]
            names = [
                f"{image_id}#repeat{repeat}" if repeat else image_id
                for image_id, repeat in zip(batch.ids, repeats, strict=True)
            ]
            return ImageNoise(self.seed, names, purpose, device)

        return MaskOptimisation(
            image=batch.image,
            target=batch.target,
            mask=mask,
            objective=self.objective,
            infill=self.infiller.infill,
            score=self.classifier.log_odds,
            mask_noise=noise("mask"),
            infill_noise=noise("infill") if needs_noise else None,
            samples=self.samples,
            steps=self.steps,
            learning_rate=self.learning_rate,
            gradient=self.gradient,
            patience=self.patience,
            on_step=self._on_step(batch.ids[:: self.repeats]),
        )

    def _on_step(self, ids: Sequence[str]) -> Callable[[int, dict[str, Tensor]], None] | None:
        progress = self.progress
        if progress is None:
            return None

        def on_step(step: int, newest: dict[str, Tensor]) -> None:
            means = {name: v.view(-1, self.repeats).mean(1) for name, v in newest.items()}
            progress(ids, step + 1, self.steps, means)

        return on_step


def _mean_history(histories: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean curves of the repeats, as far as all of them go."""
    if len(histories) == 1:
        return histories[0]
    steps = min(len(history["loss"]) for history in histories)
    return {
        name: torch.stack([history[name][:steps] for history in histories]).mean(0)
        for name in histories[0]
    }


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
