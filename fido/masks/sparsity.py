"""The sparsity that makes a region as small as a constraint on the class allows."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.masks.objectives import Objective

START = 10.0  # nats for the whole image to begin with
RANGE = 7.0  # the logarithm of the sparsity stays within this distance of the start's
RATE = 0.4  # of the integral part a check, falling linearly to 0
GAIN = 1.0  # of the proportional part


class SparsitySearch:
    """Dual ascent on the sparsity of every image by itself.

    The smallest region R with `p(R kept) >= keep_share p(photo)` and `p(R removed) <=
    removed_share p(photo)` is a saddle point of class term plus sparsity times size: the sparsity
    grows while the constraints hold and falls while one is violated. It moves by its logarithm,
    in proportion to the slack in nats of log-odds, which is clipped to [-1, 1]; a proportional
    part on top damps the swings that a mask's slow answer would cause.

    Args:
        objective: Says which shares are asked for.
        photo: (b,) log-odds of the photos in nats.
        pixels: Pixels of an image.

    Attributes:
        value: (b,) sparsity now, in nats a pixel.

    Source: Arrow, Hurwicz & Uzawa 1958 (saddle points by gradients); Platt and Barr 1987
        (damping); the constraint in place of a weight is this project's.
    """

    def __init__(self, objective: Objective, photo: Tensor, pixels: int) -> None:
        p = photo.double().sigmoid()
        keep, removed = objective.keep_share, objective.removed_share
        self._at_least = None if keep is None else torch.logit(keep * p)
        self._at_most = None if removed is None else torch.logit(removed * p)
        self._integral = torch.full_like(p, START / pixels).log()
        self._limits = (self._integral - RANGE, self._integral + RANGE)
        self.value = self._integral.exp().to(photo.dtype)

    def masks(self, region: Tensor) -> Tensor:
        """(b, 1, h, w) regions -> (b * n, 1, h, w): the masks whose scores `update` wants."""
        wanted = ((region, self._at_least), (1 - region, self._at_most))
        return torch.stack([m for m, bound in wanted if bound is not None], 1).flatten(0, 1)

    def update(self, log_odds: Tensor, progress: float) -> None:
        """Move the sparsities by what the regions of now do.

        Args:
            log_odds: (b * n,) of the images under `masks`, in nats.
            progress: Share of the steps that are done.
        """
        scores = iter(log_odds.double().view(len(self.value), -1).unbind(1))
        slacks = []
        if self._at_least is not None:
            slacks.append(next(scores) - self._at_least)
        if self._at_most is not None:
            slacks.append(self._at_most - next(scores))
        slack = torch.stack(slacks).amin(0).clamp(-1, 1)
        moved = self._integral + RATE * (1 - progress) * slack
        self._integral = torch.minimum(torch.maximum(moved, self._limits[0]), self._limits[1])
        self.value = (self._integral + GAIN * slack).exp().to(self.value.dtype)
