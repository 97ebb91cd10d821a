"""ACE: an attack through a denoiser, then its changes alone, filled in by diffusion."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.frame import Frame, Problem
from fido.diffusion.guidance import gate
from fido.diffusion.regions.base import Region
from fido.diffusion.sampler import check_start
from fido.diffusion.sampling_state import SamplingState
from fido.diffusion.schedule import add_noise
from fido.diffusion.self_masks import changed, dilated
from fido.diffusion.trajectory import Steps
from fido.explainers.base import Progress
from fido.explainers.counterfactual import CounterfactualExplainer, Found

THROUGH = ("estimate", "chain")


class Ace(CounterfactualExplainer):
    """Attacks what a denoiser makes of the photo, then takes the change where it is large.

    The attack is a signed gradient descent on `-log p(target | F(x)) + l1 * |x - photo|`, where F
    adds noise and denoises. What F makes of its end is compared with the photo; where they are
    close the photo is kept while the rest is sampled anew around it.

    Args:
        classifier: What is explained.
        denoiser: Undoes noise.
        region: Pixels that may change.
        start: Share of the signal in the variance at F's noise, in (0, 1).
        steps: To which the whole schedule of 1,000 is respaced; F takes those below the start.
        through: What the attack goes through: "chain", all of F's steps; "estimate", the first
            estimate of x_0 alone, which is as many times faster.
        iterations: Steps of the attack.
        step: Length of one, in grey levels of 255.
        l1: Weight of the sum of absolute changes, of pixels in [0, 1].
        confidence: Probability of the target from which the attack stays; None: never.
        threshold: Of the change as a share of its maximum; smaller ones are not taken.
        dilation: Side in pixels of the denoiser's size by which the taken part grows, odd.
        estimates: Images on the way that are kept.
        seed: See `CounterfactualExplainer`.
        progress: See `CounterfactualExplainer`.
        rows_per_pass: See `CounterfactualExplainer`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Jeanneret et al. 2023, "Adversarial counterfactual visual explanations".
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser,
        region: Region,
        start: float = 0.75,
        steps: int = 25,
        through: str = "estimate",
        iterations: int = 25,
        step: float = 4.0,
        l1: float = 0.001,
        confidence: float | None = 0.9,
        threshold: float = 0.15,
        dilation: int = 5,
        estimates: int = 6,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        super().__init__(classifier, region, seed, progress, rows_per_pass)
        if through not in THROUGH:
            raise ValueError(f"explainer.through must be one of {', '.join(THROUGH)}: {through!r}")
        if iterations < 1 or step <= 0 or l1 < 0 or not 0 < threshold < 1 or dilation % 2 != 1:
            raise ValueError(
                "explainer needs iterations >= 1, step > 0, l1 >= 0, threshold in (0, 1) and an "
                f"odd dilation, got {iterations}, {step}, {l1}, {threshold} and {dilation}"
            )
        self.denoiser = denoiser.to(classifier.device)
        self.schedule = Steps(steps, start)
        check_start(denoiser, self.schedule)
        self.through = through
        self.iterations = iterations
        self.step = step
        self.l1 = l1
        self.confidence = confidence
        self.threshold = threshold
        self.dilation = dilation
        self.estimates = estimates

    @torch.no_grad()
    def search(self, problem: Problem) -> Found:
        """See `CounterfactualExplainer.search`."""
        frame = Frame(problem, self.denoiser)
        state = SamplingState(frame, 1.0, [None] * len(problem))
        attacked, estimates = self._attack(frame, state)
        whole = self._chain(frame, state, attacked)
        mask = dilated(changed(whole, frame.photo, self.threshold), self.dilation) * frame.region
        # Where the change is small, every step puts the photo.
        image = frame.image_of(self._chain(frame, state, whole, mask), mask)
        self.tell(problem, self.iterations, self.iterations, state.newest())
        cost = [Counter(state.cost) for _ in problem.ids]
        kept = torch.stack(estimates, 1) if estimates else None
        return Found(image, state.curves(), state.failure, cost, kept)

    def _attack(self, frame: Frame, state: SamplingState) -> tuple[Tensor, list[Tensor]]:
        x, estimates, problem = frame.photo, [], frame.problem
        count = min(self.estimates, self.iterations)
        kept = {round(i) for i in torch.linspace(0, self.iterations - 1, max(1, count)).tolist()}
        for iteration in range(self.iterations):
            with torch.enable_grad():
                variable = x.detach().requires_grad_()
                x0 = self._pass(frame, state, variable, iteration)
                logits = self.classifier(frame.image_of(x0))
                score = logits.log_softmax(1).gather(1, problem.target.unsqueeze(1)).sum()
                (gradient,) = torch.autograd.grad(score, variable)
            state.cost.update(forward=1, backward=1)
            state.answers(logits.detach().softmax(1), frame.image_of(x0.detach()))
            going = state.fail(gradient)
            wanted = going & gate(state.newest()["p_target"].to(x.device), self.confidence)
            # l1 counts pixels in [0, 1], the process lives on [-1, 1].
            downhill = -gradient + self.l1 / 2 * (x - frame.photo).sign()
            move = 2 / 255 * self.step * downhill.sign() * frame.region
            x = (x - move).clamp(-1, 1).where(wanted.view(-1, 1, 1, 1), x)
            if iteration in kept and self.estimates:
                estimates.append(frame.small_image_of(x0.detach()))
            if iteration + 1 < self.iterations:
                self.tell(problem, iteration + 1, self.iterations, state.newest())
        return x, estimates

    def _pass(self, frame: Frame, state: SamplingState, x: Tensor, iteration: int) -> Tensor:
        """F of the attacked image, differentiable; other noise in every iteration."""
        start = self.schedule.start
        alpha_bar = self.schedule.alpha_bar(start)
        noisy = add_noise(x, alpha_bar, frame.noise(f"attack {iteration}"))
        state.cost.update(denoise=1, denoise_backward=1)
        x0 = self.denoiser.x0(noisy, alpha_bar)
        for index in range(start, 0, -1) if self.through == "chain" else ():
            noise = frame.noise(f"attack {iteration} step {index}")
            noisy = self.schedule.posterior.step(index, x0, noisy, noise)
            x0 = self.denoiser.x0(noisy, self.schedule.alpha_bar(index - 1))
            state.cost.update(denoise=1, denoise_backward=1)
        return x0

    def _chain(
        self, frame: Frame, state: SamplingState, x0: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Noise and all steps back, with the noise of the other methods; the photo off the mask."""
        start = self.schedule.start
        x = add_noise(x0, self.schedule.alpha_bar(start), frame.noise("diffusion start"))
        for index in range(start, -1, -1):
            noise = frame.noise(self.schedule.purpose(index))
            if mask is not None:
                photo = add_noise(frame.photo, self.schedule.alpha_bar(index), noise)
                x = mask * x + (1 - mask) * photo
            estimate = self.denoiser.x0(x, self.schedule.alpha_bar(index))
            state.cost["denoise"] += 1
            variance = math.sqrt(float(self.schedule.posterior.variance[index]))
            x = self.schedule.posterior.mean(index, estimate, x) + variance * noise
        return x
