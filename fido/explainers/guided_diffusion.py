"""Counterfactuals by guided diffusion: DVCE, DiME, FastDiME, MaskDiME and their control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch

from fido.classifiers.base import Classifier
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.frame import Problem
from fido.diffusion.guidance_settings import Guidance, Variable
from fido.diffusion.guides import Guide
from fido.diffusion.regions.base import Region
from fido.diffusion.sampler import GuidedSampler
from fido.diffusion.schedule import scale_of_budget
from fido.diffusion.self_masks import SelfMask
from fido.diffusion.trajectory import Steps, Trajectory
from fido.explainers.base import Progress
from fido.explainers.counterfactual import CounterfactualExplainer, Found


class GuidedDiffusion(CounterfactualExplainer):
    """Adds noise to a photo and denoises it step by step, pushed towards the target class.

    How hard it is pushed is given by a budget, which transfers over the start, the number of steps
    and the size of the denoiser (`fido.diffusion.schedule.guidance_budget`), or by the scale of
    the published code. Of several values an image takes the first at which its class flips.

    Args:
        classifier: What is explained.
        denoiser: Undoes noise.
        region: Pixels that may change.
        budget: How far the guidance can push, in units of [-1, 1]; one or several, rising. 0 is
            the control.
        scale: Scale of the guidance in place of the budget; one or several.
        start: Share of the signal in the variance at the start, in (0, 1).
        steps: To which the whole schedule of 1,000 is respaced; those below the start are taken.
        variable: See `Guidance`; so the other names up to `smooth`.
        norm: See `Guidance`.
        confidence: See `Guidance`.
        distance: See `Guidance`.
        power: See `Guidance`.
        distance_through_denoiser: See `Guidance`.
        copies: See `Guidance`.
        guide: See `Guidance`.
        mask: See `Guidance`.
        class_weight: See `Guidance`.
        paired: See `Guidance`.
        smooth: See `Guidance`.
        estimates: Images on the way that are kept.
        seed: See `CounterfactualExplainer`; so the names below.
        progress: See `CounterfactualExplainer`.
        rows_per_pass: See `CounterfactualExplainer`.

    Raises:
        ValueError: If an argument is out of range, or not exactly one of budget and scale is given.

    Source: Augustin et al. 2022; Jeanneret et al. 2022; Weng et al. 2024; Guo et al. 2026.
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser,
        region: Region,
        budget: float | Sequence[float] | None = None,
        scale: float | Sequence[float] | None = None,
        start: float = 0.58,
        steps: int = 25,
        variable: Variable = "x_t",
        norm: str = "epsilon",
        confidence: float | None = 0.9,
        distance: float = 0.0,
        power: float = 1.0,
        distance_through_denoiser: bool = False,
        copies: int = 1,
        guide: Guide | None = None,
        mask: SelfMask | None = None,
        class_weight: float = 0.0,
        paired: bool = False,
        smooth: float = 0.0,
        estimates: int = 6,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        super().__init__(classifier, region, seed, progress, rows_per_pass)
        schedule = Steps(steps, start)
        self.scales = _scales(schedule, budget, scale)
        guidance = Guidance(
            variable=variable,
            norm=norm,
            confidence=confidence,
            distance=distance,
            power=power,
            distance_through_denoiser=distance_through_denoiser,
            copies=copies,
            guide=None if guide is None else guide.to(classifier.device),
            mask=mask,
            class_weight=class_weight,
            paired=paired,
            smooth=smooth,
        )
        if classifier.class_names is not None:
            denoiser = denoiser.of_classes(classifier.class_names)
        self.sampler = GuidedSampler(
            classifier, denoiser.to(classifier.device), schedule, guidance, estimates
        )

    def search(self, problem: Problem) -> Found:
        """See `CounterfactualExplainer.search`."""
        left, best, cost = list(range(len(problem))), None, [Counter[str]() for _ in problem.ids]
        steps = self.sampler.steps.start + 1
        for attempt, scale in enumerate(self.scales):
            part = problem.part(left)
            told = partial(self._told, part, attempt * steps)
            tried = self.sampler.sample(part, scale, told)
            for index in left:
                cost[index] += tried.cost
            best = tried if best is None else _replaced(best, left, tried)
            flipped = self.flipped(part, tried.image).tolist()
            left = [
                index
                for index, done, failure in zip(left, flipped, tried.failure, strict=True)
                if not done and failure is None
            ]
            if not left:
                break
        assert best is not None
        whole = steps * len(self.scales)
        last = {name: curve[:, -1] for name, curve in best.history.items()}
        self.tell(problem, whole, whole, last)
        return Found(best.image, best.history, best.failure, cost, best.estimates)

    def _told(
        self, problem: Problem, before: int, done: int, total: int, values: dict[str, torch.Tensor]
    ) -> None:
        """Of at most so many steps: the last one is told when all attempts are over."""
        whole = total * len(self.scales)
        if before + done < whole:
            self.tell(problem, before + done, whole, values)


def _scales(
    steps: Steps,
    budget: float | Sequence[float] | None,
    scale: float | Sequence[float] | None,
) -> list[float]:
    """The scales to try, in order."""
    if (budget is None) == (scale is None):
        raise ValueError("give one of explainer.budget and explainer.scale, the other is null")
    given = scale if budget is None else budget
    values = [given] if isinstance(given, int | float) else list(given or ())
    name = "scale" if budget is None else "budget"
    if not values or min(values) < 0 or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"explainer.{name} must be 0 or more, several rising, got {given}")
    if budget is None:
        return [float(value) for value in values]
    return [scale_of_budget(steps.alpha_bars, steps.start, value) for value in values]


def _replaced(best: Trajectory, places: Sequence[int], tried: Trajectory) -> Trajectory:
    """The trajectories with those at some places replaced."""
    index = torch.tensor(list(places))

    def put(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return old.index_copy(0, index.to(old.device), new)

    failure = list(best.failure)
    for place, reason in zip(places, tried.failure, strict=True):
        failure[place] = reason
    estimates = None
    if best.estimates is not None and tried.estimates is not None:
        estimates = put(best.estimates, tried.estimates)
    return replace(
        best,
        image=put(best.image, tried.image),
        failure=failure,
        history={name: put(curve, tried.history[name]) for name, curve in best.history.items()},
        estimates=estimates,
    )
