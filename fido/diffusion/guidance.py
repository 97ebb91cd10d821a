"""Directions in which a diffusion process is pushed: pure functions of gradients.

Tensors are (n, c, h, w), one direction an image; images do not influence each other. Lengths and
angles are computed in float64 and relative to the largest value, so that gradients of any size
have a direction; one that is zero everywhere has none and stays zero.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NORMS = ("epsilon", "mu", "first", "none")
"""What a gradient's length is matched to: the estimated noise, the mean of the step, the noise but
relative to the gradient of the first step, nothing."""


def length(x: Tensor) -> Tensor:
    """(n, 1, 1, 1) float64 Euclidean norm of every image."""
    values = x.double()
    largest = values.abs().amax((1, 2, 3), keepdim=True)
    scaled = values / largest.where(largest > 0, torch.ones_like(largest))
    return largest * scaled.square().sum((1, 2, 3), keepdim=True).sqrt()


def rms(x: Tensor) -> Tensor:
    """(n,) float64 root mean square of every image."""
    return length(x).flatten() / math.sqrt(x[0].numel())


def unit(x: Tensor) -> Tensor:
    """(n, c, h, w) float64 directions of norm 1; zero where there is none."""
    norm = length(x)
    return x.double() / norm.where(norm > 0, torch.ones_like(norm))


def match_norm(direction: Tensor, reference: Tensor, first: Tensor | None = None) -> Tensor:
    """The direction with the length of a reference.

    Args:
        direction: (n, c, h, w).
        reference: (n, c, h, w), for instance the estimated noise, whose root mean square is about
            1 at every noise level, or the mean of the step.
        first: (n, 1, 1, 1) length of the direction at the first step. Then the result is
            `direction / first * |reference|`: it fades as the gradient does.

    Source: Augustin et al. 2022 (DVCE), section 3, whose code takes the noise; Vaeth et al. 2023
    take the mean of the step. Relative to the first step: Sobieski et al. 2025 (RCSB).
    """
    if first is None:
        return (unit(direction) * length(reference)).to(direction.dtype)
    norm = first.where(first > 0, torch.ones_like(first))
    return (direction.double() / norm * length(reference)).to(direction.dtype)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """(n,) float64 angles in degrees; 90 where one of the two is zero.

    By the lengths of sum and difference, which is exact for small angles, too.
    """
    u, v = unit(a), unit(b)
    return torch.rad2deg(2 * torch.atan2(length(u - v), length(u + v))).flatten()


def cone(explained: Tensor, guide: Tensor, degrees: float) -> Tensor:
    """The guide's direction, turned into the cone of given angle around the explained direction.

    A guide inside the cone stays as it is; one outside is moved to the cone's surface, on the
    shortest way. Where the guide has no direction, or the opposite one, the explained direction
    remains; where the explained one is zero, so is the result: a guide alone pushes nothing.

    Args:
        explained: (n, c, h, w) gradient of the explained classifier.
        guide: (n, c, h, w) gradient of another, robust one.
        degrees: Half the cone's opening, 0 to 90.

    Returns:
        (n, c, h, w) of norm 1, or zero.

    Raises:
        ValueError: If the angle is out of range.

    Source: Augustin et al. 2022, section 3.2.
    """
    if not 0 <= degrees <= 90:
        raise ValueError(f"the cone's angle must be 0 to 90 degrees, got {degrees}")
    axis, pull = unit(explained), unit(guide)
    across = pull - (pull * axis).sum((1, 2, 3), keepdim=True) * axis
    # What is left of a parallel or opposite guide is rounding, not a direction.
    across = unit(across * (length(across) > 1e-9))
    inside = (angle(explained, guide) <= degrees).view(-1, 1, 1, 1)
    radians = math.radians(degrees)
    moved = math.cos(radians) * axis + math.sin(radians) * across
    there = length(explained) > 0
    return unit(torch.where(inside, pull, moved) * there).to(explained.dtype)


def consensus(explained: Tensor, implied: Tensor, degrees: float) -> Tensor:
    """The explained gradient at the pixels where another direction agrees with it, 0 elsewhere.

    Two directions agree at a pixel if the angle between their colours is at most `degrees`.

    Args:
        explained: (n, c, h, w) gradient of the explained classifier.
        implied: (n, c, h, w) towards the class as the denoiser knows it: its estimate of the image
            given the class minus that given none.
        degrees: Largest angle, 0 to 180.

    Raises:
        ValueError: If the angle is out of range.

    Source: Farid et al. 2023 (LDCE), consensus guidance.
    """
    if not 0 <= degrees <= 180:
        raise ValueError(f"the angle of agreement must be 0 to 180 degrees, got {degrees}")
    a, b = explained.double(), implied.double()
    cosine = F.cosine_similarity(a, b, dim=1, eps=1e-300)
    known = (a != 0).any(1) & (b != 0).any(1)
    agree = known & (cosine >= math.cos(math.radians(degrees)))
    return explained * agree.unsqueeze(1)


def lp_direction(difference: Tensor, p: float) -> Tensor:
    """Gradient of `sum |difference|^p`: the way that leads further from the photo.

    Raises:
        ValueError: If `p` is below 1, where the gradient at 0 does not exist.
    """
    if p < 1:
        raise ValueError(f"the power of the distance must be 1 or more, got {p}")
    return p * difference.abs() ** (p - 1) * difference.sign()


def gate(probability: Tensor, confidence: float | None) -> Tensor:
    """(n,) bool: which images are still to be pushed.

    Args:
        probability: (n,) of the target class.
        confidence: Probability that is enough; None is never satisfied.
    """
    if confidence is None:
        return torch.ones_like(probability, dtype=torch.bool)
    return ~(probability >= confidence)


def strongest_pixels(gradient: Tensor, share: float) -> Tensor:
    """(n, 1, h, w) bool: the pixels where the gradient is strongest, over all colours.

    Args:
        gradient: (n, c, h, w).
        share: Of the pixels, in (0, 1]; one at least.

    Source: Guo et al. 2026 (MaskDiME).
    """
    strength = gradient.double().abs().sum(1).flatten(1)
    count = max(1, round(share * strength.shape[1]))
    top = strength.topk(count, 1).indices
    chosen = torch.zeros_like(strength, dtype=torch.bool).scatter(1, top, True)
    return (chosen & (strength > 0)).view(len(gradient), 1, *gradient.shape[-2:])
