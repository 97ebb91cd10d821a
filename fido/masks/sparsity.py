"""The sparsity that makes a region as small as a constraint on the class allows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.masks.objectives import Objective

START = 10.0  # nats for the whole image to begin with
RANGE = 7.0  # the logarithm of the sparsity stays within this distance of the start's
RATE = 0.4  # of the integral part a check, falling linearly to 0
GAIN = 1.0  # of the proportional part
MARGIN = 0.1  # nats that are aimed at beyond the constraint
SETTLED = 0.5  # share of the steps after which a region may be the result


class SparsitySearch:
    """Dual ascent on the sparsity of every image by itself.

    The smallest region R with `p(R kept) >= keep_share p(photo)` and `p(R removed) <=
    removed_share p(photo)` is a saddle point of class term plus sparsity times size: the sparsity
    grows while the constraints hold and falls while one is violated. It moves by its logarithm,
    in proportion to the slack in nats of log-odds, clipped to [-1, 1/2]; a proportional part on
    top damps the swings that a mask's slow answer would cause.

    The result is the map whose region was the smallest to meet the constraints when looked at in
    the second half of the steps, else the last one.

    Args:
        objective: Says which shares are asked for.
        photo: (b,) log-odds of the photos in nats.
        pixels: Pixels of an image.
        erased: (b,) log-odds with everything infilled; see `Objective.bounds`.

    Attributes:
        value: (b,) sparsity now, in nats a pixel.

    Source: Arrow, Hurwicz & Uzawa 1958 (saddle points by gradients); Platt and Barr 1987
        (damping); the constraint in place of a weight is this project's.
    """

    def __init__(
        self, objective: Objective, photo: Tensor, pixels: int, erased: Tensor | None = None
    ) -> None:
        self._at_least, self._at_most = objective.bounds(photo, erased)
        self._integral = torch.full_like(photo, START / pixels).log()
        self._limits = (self._integral - RANGE, self._integral + RANGE)
        self._smallest = torch.full_like(photo, math.inf)
        self._result: Tensor | None = None
        self.value = self._integral.exp()

    def masks(self, region: Tensor) -> Tensor:
        """(b, 1, h, w) regions -> (b * n, 1, h, w): the masks whose scores `update` wants."""
        return constrained_masks(region, self._at_least, self._at_most)

    def update(self, log_odds: Tensor, region: Tensor, keep_prob: Tensor, progress: float) -> None:
        """Move the sparsities by what the regions of now do.

        Args:
            log_odds: (b * n,) of the images under `masks`, in nats.
            region: (b, 1, h, w) of zeros and ones.
            keep_prob: (b, 1, h, w) the map as it is now.
            progress: Share of the steps that are done.
        """
        slack = slack_of(log_odds, self._at_least, self._at_most)
        if progress >= SETTLED:
            size = region.sum((1, 2, 3))
            better = (slack >= 0) & (size < self._smallest)
            self._smallest = torch.where(better, size, self._smallest)
            last = keep_prob if self._result is None else self._result
            self._result = torch.where(better.view(-1, 1, 1, 1), keep_prob, last)
        drive = (slack - MARGIN).clamp(-1, 0.5)
        moved = self._integral + RATE * (1 - progress) * drive
        self._integral = torch.minimum(torch.maximum(moved, self._limits[0]), self._limits[1])
        self.value = (self._integral + GAIN * drive).exp()

    def result(self, keep_prob: Tensor) -> Tensor:
        """(b, 1, h, w) maps of the smallest regions that met the constraints, else the last."""
        if self._result is None:
            return keep_prob
        return torch.where(self._smallest.isfinite().view(-1, 1, 1, 1), self._result, keep_prob)


def constrained_masks(region: Tensor, at_least: Tensor | None, at_most: Tensor | None) -> Tensor:
    """(b, 1, h, w) regions -> (b * n, 1, h, w): the masks on which something is asked.

    Args:
        region: Zeros and ones.
        at_least: What is asked of the region alone, None if nothing; see `Objective.bounds`.
        at_most: What is asked of the rest alone.
    """
    wanted = ((region, at_least), (1 - region, at_most))
    return torch.stack([mask for mask, bound in wanted if bound is not None], 1).flatten(0, 1)


def slack_of(log_odds: Tensor, at_least: Tensor | None, at_most: Tensor | None) -> Tensor:
    """(b * n,) log-odds under `constrained_masks` -> (b,) nats to the constraint that is nearest
    to its bound; negative where one is violated.
    """
    given = [bound for bound in (at_least, at_most) if bound is not None]
    scores = iter(log_odds.view(-1, len(given)).unbind(1))
    slacks = []
    if at_least is not None:
        slacks.append(next(scores) - at_least)
    if at_most is not None:
        slacks.append(at_most - next(scores))
    return torch.stack(slacks).amin(0)
