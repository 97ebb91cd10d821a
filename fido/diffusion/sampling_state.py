"""What happens to a batch while it is sampled: curves, failures, costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from fido.diffusion.frame import Frame, Problem
from fido.diffusion.guidance import length, match_norm


class SamplingState:
    """What a sampler remembers of its batch from step to step.

    Args:
        frame: The photos.
        scale: Of the push.
        failure: (b) why an image has failed already, or None.
        smooth: Of the change; see `Guidance`.

    Attributes:
        place: (b, 3, *size) where the variance of the step is; see `Denoiser.estimate`.
        loss: (b, 3, *size) what the unguided estimate adds to the photo, where it is left out.
    """

    def __init__(
        self, frame: Frame, scale: float, failure: Sequence[str | None], smooth: float = 0.0
    ) -> None:
        self.frame = frame
        self.scale = scale
        self.smooth = smooth
        self.failure = list(failure)
        self.mask: Tensor | None = None
        self.first: Tensor | None = None
        self.loss: Tensor | None = None
        self.place: Tensor | None = None
        self.cost: Counter[str] = Counter()
        self._curves: dict[str, list[Tensor]] = {}

    def shown(self, x0: Tensor) -> Tensor:
        """(b, 3, *size): an estimate as the classifier gets it.

        Without what the denoiser alone changes, where that is left out; smoothed.
        """
        if self.loss is not None:
            x0 = x0 - self.loss
        if self.smooth == 0:
            return x0
        side = min(x0.shape[-2:])
        deviation = self.smooth * side
        reach = min(round(3 * deviation) or 1, (side - 1) // 2)
        change = gaussian_blur(x0 - self.frame.photo, [2 * reach + 1] * 2, [deviation] * 2)
        shown: Tensor = self.frame.photo + change
        return shown

    def note(self, name: str, values: Tensor) -> None:
        """Add (b,) values to a curve."""
        self._curves.setdefault(name, []).append(values.float().cpu())

    def newest(self) -> dict[str, Tensor]:
        """Curve to its last (b,) values."""
        return {name: values[-1] for name, values in self._curves.items()}

    def curves(self) -> dict[str, Tensor]:
        """Curve to (b, steps)."""
        return {name: torch.stack(values, 1) for name, values in self._curves.items()}

    def answers(self, probability: Tensor, image: Tensor) -> None:
        """Note what the classifier says of the estimates."""
        for name, value in measured(probability, image, self.frame.problem).items():
            self.note(name, value)

    def fail(self, *found: Tensor | None) -> Tensor:
        """(b,) bool: which images go on; notes those with values that are not finite."""
        finite = torch.tensor([reason is None for reason in self.failure])
        for tensor in found:
            if tensor is not None:
                finite &= tensor.isfinite().flatten(1).all(1).cpu()
        for index in (~finite).nonzero().flatten().tolist():
            if self.failure[index] is None:
                self.failure[index] = "the gradient of the guidance is not finite"
        return finite.to(self.frame.photo.device)

    def sized(self, gradient: Tensor, reference: Tensor, norm: str) -> Tensor:
        """The gradient with the length that `norm` asks for; see `fido.diffusion.guidance`."""
        if norm == "none":
            return gradient
        if norm != "first":
            return match_norm(gradient, reference)
        now = length(gradient)
        # The first step at which there is a gradient: images may begin above the gate.
        self.first = now if self.first is None else self.first.where(self.first > 0, now)
        return match_norm(gradient, reference, self.first)


def measured(probability: Tensor, image: Tensor, problem: Problem) -> dict[str, Tensor]:
    """(b,) values of one moment's images; see `Trajectory.history`.

    Args:
        probability: (b, classes).
        image: (b, 3, h, w) in [0, 1] that they are of.
        problem: The photos.
    """
    return {
        "p_target": probability.gather(1, problem.target.unsqueeze(1)).squeeze(1),
        "p_source": probability.gather(1, problem.source.unsqueeze(1)).squeeze(1),
        "flipped": (probability.argmax(1) == problem.target).float(),
        "distance": (image - problem.image).abs().mean((1, 2, 3)),
    }
