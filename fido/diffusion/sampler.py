"""Guided sampling: from noisy photos back to images that a classifier takes for other classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.diffusion.copies import shifted
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.frame import Frame, Problem
from fido.diffusion.guidance import gate, lp_direction, match_norm, rms
from fido.diffusion.guidance_settings import Guidance
from fido.diffusion.guides import Moment
from fido.diffusion.sampling_state import SamplingState
from fido.diffusion.schedule import add_noise, noise_from_x0
from fido.diffusion.trajectory import Steps, Trajectory

Told = Callable[[int, int, dict[str, Tensor]], None]
"""Told after every step: steps done, steps in all, newest (b,) values."""


class GuidedSampler:
    """Denoises noisy photos step by step, each step pushed towards the target class.

    A step back is `mean(x0, x_t) + variance * push + sqrt(variance) * noise`, with
    `push = scale * (class gradient - distance * distance gradient)`. The gradient is that of the
    target's log-probability at the estimate of x_0, lifted to the classifier's size. Outside of
    the region every step puts the photo, with the noise of that step; at the end it is the photo.

    A denoiser is not perfect: without any guidance the photo comes back changed. A `paired`
    guidance runs that unguided process beside the guided one, on the same noise, and takes the
    difference of the two estimates as the change, `photo + x0 - x0 unguided`. Then a scale of 0
    gives the photo, and a scale above it changes nothing but what the guidance changed.

    Images do not influence each other: one whose gradient is not finite fails and the others go on.
    Each has random numbers of its own for each step; see `Problem.noise`.

    Args:
        classifier: What is explained.
        denoiser: Undoes noise.
        steps: The schedule and its start.
        guidance: How the classifier pushes.
        estimates: How many of the estimates are kept for a picture.

    Raises:
        ValueError: If the denoiser is of no use at the start.

    Source: Augustin et al. 2022 (DVCE); Jeanneret et al. 2022 (DiME: `variable` "chain", `norm`
    "none"); Weng et al. 2024 (FastDiME) and Guo et al. 2026 (MaskDiME): masks; Ho and Salimans
    2022: `class_weight`.
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser,
        steps: Steps,
        guidance: Guidance,
        estimates: int = 6,
    ) -> None:
        check_start(denoiser, steps)
        self.classifier = classifier
        self.denoiser = denoiser
        self.steps = steps
        self.guidance = guidance
        self.estimates = estimates

    @torch.no_grad()
    def sample(self, problem: Problem, scale: float, told: Told | None = None) -> Trajectory:
        """Sample one image each.

        Args:
            problem: The photos.
            scale: Of the push; 0 is the control: the same noise and no gradient of the classifier.
            told: See `Told`.
        """
        frame, start = Frame(problem, self.denoiser), self.steps.start
        noise = frame.noise("diffusion start")
        x = add_noise(frame.photo, self.steps.alpha_bar(start), noise)
        unguided = x if self.guidance.paired else None
        guide = None if scale == 0 else self.guidance.guide
        refusals = [None] * len(problem) if guide is None else guide.refusals(frame)
        state = SamplingState(frame, scale, refusals, self.guidance.smooth)
        kept = {round(i) for i in torch.linspace(start, 0, max(1, self.estimates)).tolist()}
        estimates = []
        for index in range(start, -1, -1):
            if unguided is not None:
                unguided_x0, place = self.denoiser.estimate(unguided, self.steps.alpha_bar(index))
                state.cost["denoise"] += 1
                state.loss = unguided_x0 - frame.photo
            x0, push = self._guided(state, x, index)
            variance = self.steps.variance(index, state.place)
            alpha_bar = self.steps.alpha_bar(index - 1)
            noise = frame.noise(self.steps.purpose(index))
            back = partial(self._back, state, index, noise)
            x = back(x0, x, variance, variance * push)
            if unguided is not None:
                unguided = back(unguided_x0, unguided, self.steps.variance(index, place))
            state.note("push", rms(variance * push) / math.sqrt(alpha_bar))
            if index in kept and self.estimates:
                estimates.append(frame.small_image_of(state.shown(x0), state.mask))
            if told is not None:
                told(start + 1 - index, start + 1, state.newest())
        if unguided is not None:
            state.loss = unguided - frame.photo
        return Trajectory(
            image=frame.image_of(state.shown(x), state.mask),
            failure=state.failure,
            history=state.curves(),
            estimates=torch.stack(estimates, 1) if estimates else None,
            cost=state.cost,
        )

    def _back(
        self,
        state: SamplingState,
        index: int,
        noise: Tensor,
        x0: Tensor,
        x: Tensor,
        variance: Tensor | float,
        moved: Tensor | float = 0.0,
    ) -> Tensor:
        """x_{index - 1}: a step back in the region, moved there; the photo with noise outside."""
        frame = state.frame
        mean = self.steps.posterior.mean(index, x0, x)
        inside = mean + moved + variance**0.5 * noise
        outside = add_noise(frame.photo, self.steps.alpha_bar(index - 1), noise)
        where = frame.region if state.mask is None else frame.region * state.mask
        return where * inside + (1 - where) * outside

    def _guided(self, state: SamplingState, x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """The estimate of x_0 at a step, and the push in units of the step's variance."""
        guidance, frame = self.guidance, state.frame
        alpha_bar = self.steps.alpha_bar(index)
        through = guidance.variable == "x_t"
        with torch.set_grad_enabled(state.scale != 0):
            x = x.detach().requires_grad_(through and state.scale != 0)
            x0 = self._estimate(state, x, alpha_bar)
            seen = state.shown(x0)
            if not through:
                seen = self._point(state, x, seen, index)
            logits = self.classifier(frame.image_of(seen, state.mask))
            state.cost["forward"] += 1
            probability = logits.detach().softmax(1)
            state.answers(probability, frame.image_of(seen.detach(), state.mask))
            if state.scale == 0:
                return x0, torch.zeros_like(x0)
            moment = Moment(
                frame=frame,
                classifier=self.classifier,
                x=x.detach(),
                x0=seen,
                variable=x if through else seen,
                alpha_bar=alpha_bar,
                purpose=self.steps.purpose(index),
            )
            gradient = self._class_gradient(state, moment, logits)
            distance = self._distance_gradient(frame, moment)
        x0 = x0.detach()
        # Before the values of failed images are replaced.
        going = state.fail(gradient, distance, x0)
        x0 = x0.nan_to_num(0.0)
        wanted = going & gate(state.newest()["p_target"].to(x0.device), guidance.confidence)
        gradient = _only(wanted, gradient)
        if guidance.mask is not None:
            last = torch.ones_like(frame.region) if state.mask is None else state.mask
            progress = (self.steps.start - index) / (self.steps.start + 1)
            estimate = state.shown(x0)
            state.mask = guidance.mask.of(estimate, frame.photo, gradient, last, progress)
        reference = self._reference(x.detach(), x0, index)
        push = state.sized(gradient, reference, guidance.norm)
        if distance is not None:
            distance = _only(wanted, distance)
            sized = distance if guidance.norm == "none" else match_norm(distance, reference)
            push = push - guidance.distance * sized
        return x0, state.scale * push

    def _point(self, state: SamplingState, x: Tensor, x0: Tensor, index: int) -> Tensor:
        """A leaf that the classifier is asked about: the estimate, or the end of a chain."""
        if self.guidance.variable == "chain":
            with torch.no_grad():
                x0 = self._chain(state, x, x0, index)
        return x0.detach().requires_grad_(state.scale != 0)

    def _chain(self, state: SamplingState, x: Tensor, x0: Tensor, index: int) -> Tensor:
        """What unguided steps from x_t on end with."""
        for inner in range(index, 0, -1):
            noise = state.frame.noise(f"{self.steps.purpose(index)} chain {inner}")
            x = self.steps.posterior.step(inner, x0, x, noise)
            x0 = self._estimate(state, x, self.steps.alpha_bar(inner - 1))
        return x0

    def _estimate(self, state: SamplingState, x: Tensor, alpha_bar: float) -> Tensor:
        state.cost["denoise"] += 1
        x0, place = self.denoiser.estimate(x, alpha_bar)
        state.place = None if place is None else place.detach()
        known = self.denoiser.knows(state.frame.problem.target)
        if self.guidance.class_weight == 0 or not known.any():
            return x0
        state.cost["denoise"] += 1
        given = self.denoiser.x0(x, alpha_bar, state.frame.problem.target)
        last = state.newest().get("p_target")
        reached = torch.zeros(len(x)) if last is None else last
        weight = self.guidance.class_weight * gate(reached.to(x), self.guidance.confidence)
        return x0 + weight.view(-1, 1, 1, 1) * (given - x0)

    def _class_gradient(self, state: SamplingState, moment: Moment, logits: Tensor) -> Tensor:
        frame, guidance = moment.frame, self.guidance
        score = logits.log_softmax(1).gather(1, frame.problem.target.unsqueeze(1)).sum()
        more = guidance.copies > 1 or guidance.guide is not None
        more |= guidance.distance > 0 and guidance.distance_through_denoiser
        (gradient,) = torch.autograd.grad(score, moment.variable, retain_graph=more)
        passes = 1
        for copy in range(1, guidance.copies):
            image = shifted(frame, moment, copy, state.mask)
            gradient = gradient + moment.gradient(image, self.classifier)
            passes += 1
        state.cost["forward"] += passes - 1
        if guidance.guide is not None:
            gradient, degrees = guidance.guide.direct(gradient, moment)
            state.note("angle", degrees)
        state.cost["backward"] += passes
        if guidance.variable == "x_t":
            state.cost["denoise_backward"] += passes
            return gradient
        # The denoiser taken for a division by sqrt(alpha_bar).
        return gradient / math.sqrt(moment.alpha_bar)

    def _distance_gradient(self, frame: Frame, moment: Moment) -> Tensor | None:
        guidance = self.guidance
        if guidance.distance == 0:
            return None
        direct = lp_direction((moment.x0 - frame.photo).detach(), guidance.power)
        if not guidance.distance_through_denoiser:
            return direct
        (through,) = torch.autograd.grad(moment.x0, moment.variable, direct)
        return through

    def _reference(self, x: Tensor, x0: Tensor, index: int) -> Tensor:
        if self.guidance.norm == "mu":
            return self.steps.posterior.mean(index, x0, x)
        return noise_from_x0(x, self.steps.alpha_bar(index), x0)


def check_start(denoiser: Denoiser, steps: Steps) -> None:
    """Raises:
    ValueError: If the denoiser is of no use at the start of the steps.
    """
    alpha_bar = steps.alpha_bar(steps.start)
    if alpha_bar < denoiser.lowest_alpha_bar:
        raise ValueError(
            f"explainer.start={alpha_bar:.4f} is noisier than the denoiser was trained for; "
            f"give {denoiser.lowest_alpha_bar} or more"
        )


def _only(wanted: Tensor, x: Tensor) -> Tensor:
    """Zeros for the images that are not wanted, whatever is in there."""
    return x.where(wanted.view(-1, 1, 1, 1), torch.zeros_like(x))
