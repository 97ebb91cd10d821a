"""What a classifier's gradient is checked against, so that a counterfactual is no attack.

The gradient of a network that was not trained to be robust points to changes that people do not
see. A guide turns or thins it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.diffusion.frame import Frame
from fido.diffusion.guidance import angle, cone, consensus, unit
from fido.diffusion.schedule import add_noise


@dataclass(frozen=True, eq=False)
class Moment:
    """One guided step of a batch, with the graph from `variable` to `x0`.

    Attributes:
        frame: The photos.
        classifier: What is explained.
        x: (b, 3, *size) x_t.
        x0: (b, 3, *size) estimate, differentiable in `variable`.
        variable: What gradients are taken for: x_t, or the estimate.
        alpha_bar: Share of the signal.
        purpose: Of the step's random numbers.
    """

    frame: Frame
    classifier: Classifier
    x: Tensor
    x0: Tensor
    variable: Tensor
    alpha_bar: float
    purpose: str

    def gradient(self, image: Tensor, classifier: Classifier) -> Tensor:
        """(b, 3, *size) of the targets' log-probabilities of images that came of `x0`."""
        logits = classifier(image)
        target = self.frame.problem.target.unsqueeze(1)
        # A sum, not a mean: an image's gradient does not depend on the others.
        score = logits.log_softmax(1).gather(1, target).sum()
        (found,) = torch.autograd.grad(score, self.variable, retain_graph=True)
        return found


class Guide(nn.Module, ABC):
    """Changes a gradient; frozen networks in it move with it."""

    def refusals(self, frame: Frame) -> list[str | None]:
        """(b) why an image cannot be guided, or None."""
        return [None] * len(frame.problem)

    @abstractmethod
    def direct(self, gradient: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """The direction to go, and (b,) degrees between the gradient and what guides it.

        Args:
            gradient: (b, 3, *size) of the explained classifier, for `moment.variable`.
            moment: The step.
        """


class ConeGuide(Guide):
    """The direction of a robust classifier, within a cone around the explained one's gradient.

    Args:
        classifier: Takes the explained classifier's images and knows its classes.
        degrees: See `fido.diffusion.guidance.cone`; 0 asks the guide nothing.

    Source: Augustin et al. 2022, section 3.2.
    """

    def __init__(self, classifier: Classifier, degrees: float = 30.0) -> None:
        super().__init__()
        self.classifier = classifier
        self.degrees = degrees

    def direct(self, gradient: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """See `Guide.direct`."""
        if self.degrees == 0:
            return unit(gradient).to(gradient.dtype), gradient.new_zeros(len(gradient))
        robust = moment.gradient(moment.frame.image_of(moment.x0), self.classifier)
        return cone(gradient, robust, self.degrees), angle(gradient, robust)


class ConsensusGuide(Guide):
    """The gradient where the class-conditional denoiser agrees with it; needs no other network.

    A target that the denoiser does not know leaves nothing to agree with: such an image fails.

    Args:
        degrees: See `fido.diffusion.guidance.consensus`.

    Source: Farid et al. 2023 (LDCE).
    """

    def __init__(self, degrees: float = 55.0) -> None:
        super().__init__()
        self.degrees = degrees

    def refusals(self, frame: Frame) -> list[str | None]:
        """See `Guide.refusals`."""
        target = frame.problem.target
        return [
            None if known else f"consensus: the denoiser does not know class {index}"
            for known, index in zip(frame.denoiser.knows(target), target.tolist(), strict=True)
        ]

    @torch.no_grad()
    def direct(self, gradient: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """See `Guide.direct`."""
        denoiser, target = moment.frame.denoiser, moment.frame.problem.target
        given = denoiser.x0(moment.x, moment.alpha_bar, target)
        implied = given - denoiser.x0(moment.x, moment.alpha_bar)
        return consensus(gradient, implied, self.degrees), angle(gradient, implied)


class SmoothingGuide(Guide):
    """The mean gradient over noisy and denoised copies, within a cone around the gradient.

    The denoiser in front of the classifier makes it robust to noise without a training.

    Args:
        samples: Copies.
        alpha_bar: Share of the signal in them, in (0, 1).
        degrees: See `fido.diffusion.guidance.cone`; 0 asks for no copies.

    Source: Salman et al. 2020, "Denoised smoothing"; Carlini et al. 2023 with a diffusion model.
    """

    def __init__(self, samples: int = 4, alpha_bar: float = 0.9, degrees: float = 30.0) -> None:
        super().__init__()
        if samples < 1 or not 0 < alpha_bar < 1:
            raise ValueError(
                "explainer.guide needs samples >= 1 and alpha_bar in (0, 1), "
                f"got {samples} and {alpha_bar}"
            )
        self.samples = samples
        self.alpha_bar = alpha_bar
        self.degrees = degrees

    def direct(self, gradient: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """See `Guide.direct`."""
        if self.degrees == 0:
            return unit(gradient).to(gradient.dtype), gradient.new_zeros(len(gradient))
        frame, total = moment.frame, torch.zeros_like(gradient, dtype=torch.float64)
        for sample in range(self.samples):
            noise = frame.noise(f"{moment.purpose} smoothing {sample}")
            noisy = add_noise(moment.x0, self.alpha_bar, noise)
            denoised = frame.denoiser.x0(noisy, self.alpha_bar)
            total += unit(moment.gradient(frame.image_of(denoised), moment.classifier))
        smooth = total.to(gradient.dtype)
        return cone(gradient, smooth, self.degrees), angle(gradient, smooth)
