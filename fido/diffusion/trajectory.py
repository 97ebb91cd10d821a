"""The steps that a sampler takes, and what it leaves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from fido.diffusion.schedule import (
    Posterior,
    cumulative_alphas,
    learned_variance,
    linear_betas,
    posterior,
    respaced_steps,
    start_index,
)


class Steps:
    """The linear schedule of 1,000 steps, respaced, from a start given by its share of signal.

    Args:
        count: Steps to which the whole schedule is respaced; those below the start are taken.
        start: `alpha_bar` at the start, in (0, 1); the nearest step is taken.

    Attributes:
        alpha_bars: (count,) of the respaced schedule.
        numbers: (count,) the steps' numbers in the whole schedule.
        start: Index of the first step.
        posterior: Of the respaced schedule.

    Raises:
        ValueError: If a number is out of range, or no step is left between start and image.
    """

    def __init__(self, count: int, start: float) -> None:
        whole = cumulative_alphas(linear_betas())
        self.numbers = respaced_steps(len(whole), count)
        self.alpha_bars = whole[self.numbers]
        self.start = start_index(self.alpha_bars, start)
        if self.start < 1:
            raise ValueError(
                f"of {count} steps none starts near alpha_bar {start}; give more steps or a "
                f"smaller start, at most {float(self.alpha_bars[1]):.4f}"
            )
        self.posterior: Posterior = posterior(self.alpha_bars)

    def alpha_bar(self, index: int) -> float:
        """Share of the signal at a step; 1 at index -1, the image."""
        return float(self.alpha_bars[index]) if index >= 0 else 1.0

    def variance(self, index: int, place: Tensor | None = None) -> Tensor | float:
        """Of a step back: the posterior's, or where `place` says; 0 of the last, to the image."""
        if place is None or index == 0:
            return float(self.posterior.variance[index])
        return learned_variance(self.alpha_bars, index, place).to(place.dtype)

    def purpose(self, index: int) -> str:
        """What the random numbers of a step are drawn for, whatever the respacing."""
        return f"diffusion step {int(self.numbers[index])}"


@dataclass(eq=False)
class Trajectory:
    """What sampling left of b photos.

    Attributes:
        image: (b, 3, h, w) in [0, 1] the last estimates at the photos' size.
        history: Curves (b, steps): "p_target" and "p_source" probabilities of the estimates,
            "flipped" 1 where they are taken for the target, "push" root mean square of what
            guidance added, on the scale [-1, 1] of x_0, "distance" mean absolute change in [0, 1],
            "angle" in degrees between gradient and guide where there is a guide.
        failure: (b) why an image failed, or None.
        estimates: (b, k, 3, h', w') uint8 some of the estimates at the denoiser's size, first to
            last.
        cost: Rows through each network, the same for each image.
    """

    image: Tensor
    failure: list[str | None]
    history: dict[str, Tensor] = field(default_factory=dict)
    estimates: Tensor | None = None
    cost: Counter[str] = field(default_factory=Counter)
