"""Projected gradient descent on pixels: the attack that a counterfactual must not be."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.diffusion.frame import Problem
from fido.diffusion.guidance import gate, length, unit
from fido.diffusion.regions.base import Region
from fido.diffusion.sampling_state import measured
from fido.explainers.base import Progress
from fido.explainers.counterfactual import CounterfactualExplainer, Found


class ProjectedGradient(CounterfactualExplainer):
    """Follows the gradient of the target's log-probability within a ball around the photo.

    There is no model of images in it: a control for methods that have one.

    Args:
        classifier: What is explained.
        region: Pixels that may change.
        norm: "l2" or "linf", of the ball and of the steps.
        epsilon: Radius: root mean square of the change for l2, largest change for linf; of pixels
            in [0, 1].
        steps: Number of steps.
        step: Length of a step as a share of the radius.
        confidence: Probability of the target from which an image stays; None: never.
        seed: See `CounterfactualExplainer`; there is nothing random in here.
        progress: See `CounterfactualExplainer`.
        rows_per_pass: See `CounterfactualExplainer`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Madry et al. 2018.
    """

    def __init__(
        self,
        classifier: Classifier,
        region: Region,
        norm: str = "l2",
        epsilon: float = 0.02,
        steps: int = 25,
        step: float = 0.1,
        confidence: float | None = 0.9,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        super().__init__(classifier, region, seed, progress, rows_per_pass)
        if norm not in ("l2", "linf"):
            raise ValueError(f"explainer.norm must be l2 or linf, got {norm!r}")
        if not 0 < epsilon <= 1 or steps < 1 or not 0 < step <= 1:
            raise ValueError(
                "explainer needs epsilon and step in (0, 1] and steps >= 1, "
                f"got {epsilon}, {step} and {steps}"
            )
        self.norm = norm
        self.epsilon = epsilon
        self.steps = steps
        self.step = step
        self.confidence = confidence

    def search(self, problem: Problem) -> Found:
        """See `CounterfactualExplainer.search`."""
        image, curves = problem.image, []
        failure: list[str | None] = [None] * len(problem)
        for done in range(self.steps):
            with torch.enable_grad():
                seen = image.detach().requires_grad_()
                logits = self.classifier(seen)
                score = logits.log_softmax(1).gather(1, problem.target.unsqueeze(1)).sum()
                (gradient,) = torch.autograd.grad(score, seen)
            values = measured(logits.detach().softmax(1), image, problem)
            finite = gradient.isfinite().flatten(1).all(1)
            for index in (~finite).nonzero().flatten().tolist():
                failure[index] = "the gradient of the classifier is not finite"
            wanted = finite & gate(values["p_target"], self.confidence)
            gradient = gradient.where(wanted.view(-1, 1, 1, 1) & problem.region, 0.0)
            moved = problem.paste(self._projected(image + self._move(gradient), problem.image))
            image = moved.where(wanted.view(-1, 1, 1, 1), image)
            curves.append(values)
            if done + 1 < self.steps:
                self.tell(problem, done + 1, self.steps, values)
        self.tell(problem, self.steps, self.steps, curves[-1])
        history = {name: torch.stack([each[name] for each in curves], 1) for name in curves[0]}
        cost = [Counter(forward=self.steps, backward=self.steps) for _ in problem.ids]
        return Found(image, history, failure, cost)

    def _move(self, gradient: Tensor) -> Tensor:
        length_of_step = self.step * self.epsilon
        if self.norm == "linf":
            return length_of_step * gradient.sign()
        pixels = math.sqrt(gradient[0].numel())
        return (length_of_step * pixels * unit(gradient)).to(gradient.dtype)

    def _projected(self, image: Tensor, photo: Tensor) -> Tensor:
        change = image - photo
        if self.norm == "linf":
            change = change.clamp(-self.epsilon, self.epsilon)
        else:
            size = length(change).to(change.dtype) / math.sqrt(change[0].numel())
            change = change * (self.epsilon / size.clamp_min(self.epsilon))
        return (photo + change).clamp(0, 1)
