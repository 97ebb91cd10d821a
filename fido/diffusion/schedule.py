"""Noise schedules of diffusion models: how much noise at which step, and the step back.

Pure functions of the cumulative products `alpha_bar_t = prod_{s <= t} (1 - beta_s)`, with which
`x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise`.

Source: Ho et al. 2020 (DDPM); respacing: Nichol & Dhariwal 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """(steps,) float64 variances added in each step, equally spaced.

    Args:
        steps: Number of steps, 1 or more.
        first: Variance of the first step.
        last: Variance of the last step; `0 < first <= last < 1`.

    Raises:
        ValueError: If an argument is out of range.
    """
    if steps < 1 or not 0 < first <= last < 1:
        raise ValueError(
            "a schedule needs steps >= 1 and 0 < first <= last < 1, "
            f"got {steps} steps from {first} to {last}"
        )
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cumulative_alphas(betas: Tensor) -> Tensor:
    """(steps,) float64 `alpha_bar` of every step, falling from nearly 1 to nearly 0."""
    return (1 - betas.double()).cumprod(0)


def respaced_steps(steps: int, count: int) -> Tensor:
    """(count,) int64 steps out of `0 .. steps - 1`, rising, the first and the last among them.

    Args:
        steps: Steps of the whole schedule.
        count: Steps to keep, 2 to `steps`; equally spaced and rounded.

    Raises:
        ValueError: If `count` is out of range.
    """
    if not 2 <= count <= steps:
        raise ValueError(f"the number of diffusion steps must be in 2..{steps}, got {count}")
    return torch.linspace(0, steps - 1, count, dtype=torch.float64).round().long()


def start_index(alpha_bars: Tensor, alpha_bar: float) -> int:
    """The step whose `alpha_bar` is nearest to a given one.

    Args:
        alpha_bars: (steps,) of a schedule, whole or respaced.
        alpha_bar: Share of the signal in the variance, in (0, 1).

    Raises:
        ValueError: If `alpha_bar` is not in (0, 1).
    """
    if not 0 < alpha_bar < 1:
        raise ValueError(f"alpha_bar at the start must be in (0, 1), got {alpha_bar}")
    return int((alpha_bars - alpha_bar).abs().argmin())


def nearest_steps(alpha_bar: Tensor) -> Tensor:
    """(n,) int64 steps of the linear schedule of 1,000 whose `alpha_bar` (n,) is nearest."""
    whole = cumulative_alphas(linear_betas()).to(alpha_bar.device)
    return (whole - alpha_bar.double()[:, None]).abs().argmin(1)


def add_noise(x0: Tensor, alpha_bar: Tensor | float, noise: Tensor) -> Tensor:
    """`sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise`, a draw of q(x_t | x_0).

    Args:
        x0: (n, c, h, w) in [-1, 1].
        alpha_bar: A number or (n,).
        noise: (n, c, h, w) standard normal.
    """
    signal = _per_image(alpha_bar, x0)
    return signal.sqrt() * x0 + (1 - signal).sqrt() * noise


def x0_from_noise(x_t: Tensor, alpha_bar: Tensor | float, noise: Tensor) -> Tensor:
    """The x_0 that `add_noise` made x_t of: `(x_t - sqrt(1 - alpha_bar) noise) / sqrt(alpha_bar)`.

    Args:
        x_t: (n, c, h, w).
        alpha_bar: A number or (n,), not 0.
        noise: (n, c, h, w), for instance an estimate.
    """
    signal = _per_image(alpha_bar, x_t)
    return (x_t - (1 - signal).sqrt() * noise) / signal.sqrt()


def noise_from_x0(x_t: Tensor, alpha_bar: Tensor | float, x0: Tensor) -> Tensor:
    """The noise between x_0 and x_t: `(x_t - sqrt(alpha_bar) x0) / sqrt(1 - alpha_bar)`.

    Args:
        x_t: (n, c, h, w).
        alpha_bar: A number or (n,), not 1.
        x0: (n, c, h, w), for instance an estimate.
    """
    signal = _per_image(alpha_bar, x_t)
    return (x_t - signal.sqrt() * x0) / (1 - signal).sqrt()


@dataclass(frozen=True)
class Posterior:
    """q(x_{i-1} | x_i, x_0) of every step i of a schedule: `mean = a x_0 + b x_i`.

    Between neighbours of a respaced schedule `beta = 1 - alpha_bar_i / alpha_bar_{i-1}`. Before the
    first step there is no noise, its `alpha_bar` is 1: the last step back returns x_0 and has
    variance 0.

    Attributes:
        x0_weight: (steps,) a = `sqrt(alpha_bar_{i-1}) beta / (1 - alpha_bar_i)`.
        x_weight: (steps,) b = `sqrt(1 - beta) (1 - alpha_bar_{i-1}) / (1 - alpha_bar_i)`.
        variance: (steps,) `(1 - alpha_bar_{i-1}) / (1 - alpha_bar_i) beta`.

    Source: Ho et al. 2020, equation 7.
    """

    x0_weight: Tensor
    x_weight: Tensor
    variance: Tensor

    def mean(self, index: int, x0: Tensor, x: Tensor) -> Tensor:
        """Mean of x_{index-1}, given x_0 and x = x_index, both (n, c, h, w)."""
        return float(self.x0_weight[index]) * x0 + float(self.x_weight[index]) * x

    def step(self, index: int, x0: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """A draw of x_{index-1} with the given standard normal noise; all (n, c, h, w)."""
        return self.mean(index, x0, x) + math.sqrt(self.variance[index]) * noise


def posterior(alpha_bars: Tensor) -> Posterior:
    """The posterior of every step of a schedule, whole or respaced.

    Args:
        alpha_bars: (steps,) falling, in (0, 1).
    """
    now = alpha_bars.double()
    before = _before(now)
    beta = 1 - now / before
    return Posterior(
        x0_weight=before.sqrt() * beta / (1 - now),
        x_weight=(1 - beta).sqrt() * (1 - before) / (1 - now),
        variance=(1 - before) / (1 - now) * beta,
    )


def learned_variance(alpha_bars: Tensor, index: int, place: Tensor) -> Tensor:
    """The variance of a step back where a network says so: between those of the posterior and beta.

    `exp(f log beta + (1 - f) log variance)` with `f = (place + 1) / 2`. The posterior's variance of
    the first step is 0; that of the second is taken for it.

    Args:
        alpha_bars: (steps,) of a schedule, whole or respaced.
        index: Of the step.
        place: (n, c, h, w) from -1, the posterior's variance, to 1, beta.

    Source: Nichol & Dhariwal 2021, equation 15.
    """
    now = alpha_bars.double()
    largest = 1 - now[index] / _before(now)[index]
    smallest = posterior(now).variance[max(index, 1)]
    share = (place.double() + 1) / 2
    return torch.exp(share * largest.log() + (1 - share) * smallest.log())


def guidance_budget(alpha_bars: Tensor, start: int, scale: float = 1.0) -> float:
    """How far guidance of unit gradients can push x_0 on the way from `start` to 0.

    A guided step moves x_{i-1} by `variance_i * scale` times a gradient of root mean square 1; in
    units of x_0 that is `variance_i * scale / sqrt(alpha_bar_{i-1})`. The budget is their sum over
    steps 0 to `start`. Equal budgets push equally hard whatever the start and the number of steps.

    Args:
        alpha_bars: (steps,) of a schedule, whole or respaced.
        start: Index of the first step back.
        scale: Scale of the guidance.

    Returns:
        The budget, on the scale [-1, 1] of images.
    """
    pushes = posterior(alpha_bars).variance / _before(alpha_bars.double()).sqrt()
    return scale * float(pushes[: start + 1].sum())


def scale_of_budget(alpha_bars: Tensor, start: int, budget: float) -> float:
    """The scale of the guidance that has a given budget; see `guidance_budget`.

    Raises:
        ValueError: If no push is possible, because `start` is the first step.
    """
    unit = guidance_budget(alpha_bars, start)
    if unit <= 0:
        raise ValueError(f"guidance from step {start} cannot push; start at a step of 1 or more")
    return budget / unit


def _before(alpha_bars: Tensor) -> Tensor:
    return torch.cat([alpha_bars.new_ones(1), alpha_bars[:-1]])


def _per_image(alpha_bar: Tensor | float, like: Tensor) -> Tensor:
    value = torch.as_tensor(alpha_bar, dtype=like.dtype, device=like.device)
    return value.reshape(-1, *[1] * (like.ndim - 1))
