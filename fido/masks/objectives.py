"""Objectives of mask optimisation: a class score against the size of a region."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.runtime.checks import check_at_least, check_choice

REACHABLE = 0.9
"""Of what infilling the whole image takes from a class, the share that a region need not exceed."""

SCORES = ("log_odds", "log_probability", "clipped_log_odds")


def total_variation(prob: Tensor) -> Tensor:
    """(b, 1, h, w) -> (b,): sum of squared differences of vertical and horizontal neighbours.

    Source: Chang et al. 2019, appendix (Fig. 14); anisotropic, summed over pixels.
    """
    rows = (prob[..., 1:, :] - prob[..., :-1, :]).square().sum((1, 2, 3))
    columns = (prob[..., :, 1:] - prob[..., :, :-1]).square().sum((1, 2, 3))
    return rows + columns


@dataclass(frozen=True)
class Objective(ABC):
    """A weighted sum of a class score and the size of a region.

    Args:
        sparsity: Penalty per pixel of the region, in nats, >= 0; "auto" finds it for every image,
            see `fido.masks.sparsity.SparsitySearch`.
        total_variation: Penalty per unit of total variation of the keep probability, in nats, >= 0.
        warmup_steps: The penalties grow linearly from 0 to full strength over these steps.
        score: What an image says about the class; see `rated`.
        keep_share: Under "auto": the region alone keeps at least this share of the photo's
            probability, in (0, 1); None asks nothing.
        removed_share: Under "auto": without the region at most this share of it is left, in
            (0, 1); None asks nothing.
        smoothness: Total variation in the price of pixels, >= 0: a unit of it costs as much as so
            many pixels of the region, whatever their price. Specks pay more for their rim than
            for their size.

    Raises:
        ValueError: If a number is out of range, or "auto" is asked nothing.
    """

    sparsity: float | Literal["auto"]
    total_variation: float = 0.0
    warmup_steps: int = 30
    score: Literal["log_odds", "log_probability", "clipped_log_odds"] = "log_odds"
    keep_share: float | None = None
    removed_share: float | None = None
    smoothness: float = 0.0

    signs: ClassVar[tuple[int, ...]]
    """For every image that is scored of one mask: 1 if it shall keep the class, -1 if lose it."""

    def __post_init__(self) -> None:
        if isinstance(self.sparsity, str) and self.sparsity != "auto":
            raise ValueError(f"objective.sparsity must be a number or auto, got {self.sparsity!r}")
        check_at_least(
            0,
            "objective",
            sparsity=None if self.sparsity == "auto" else self.sparsity,
            total_variation=self.total_variation,
            smoothness=self.smoothness,
            warmup_steps=self.warmup_steps,
        )
        check_choice(SCORES, "objective", score=self.score)
        shares = {"keep_share": self.keep_share, "removed_share": self.removed_share}
        for name, share in shares.items():
            if share is not None and not 0 < share < 1:
                raise ValueError(f"objective.{name} must lie between 0 and 1, got {share}")
        if self.sparsity == "auto" and self.keep_share is self.removed_share is None:
            raise ValueError(
                "objective.sparsity=auto needs objective.keep_share or objective.removed_share"
            )

    @property
    def needs_photo(self) -> bool:
        """Whether the log-odds of the photo itself are used."""
        return self.sparsity == "auto" or self.score == "clipped_log_odds"

    @property
    def needs_erased(self) -> bool:
        """Whether the log-odds of the photo with everything infilled are used."""
        return self.sparsity == "auto" and self.removed_share is not None

    def views(self, keep: Tensor, samples: int) -> Tensor:
        """The masks that are scored for the masks that were drawn.

        Args:
            keep: (b * samples, 1, h, w) drawn masks.
            samples: Masks an image.

        Returns:
            (b * v * samples, 1, h, w) with v the number of `signs`; for each image first all masks
            of the first view, then those of the next.
        """
        del samples  # SSR and SDR score the drawn mask itself
        return keep

    def bounds(
        self, photo: Tensor, erased: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What "auto" asks of the log-odds with the region alone and without it.

        No region takes more of a class than the whole image does. Where an infiller leaves the
        class more than `removed_share`, 90 % of what infilling everything takes, in nats, is asked.

        Args:
            photo: (b,) log-odds of the photos.
            erased: (b,) log-odds with everything infilled; None takes all as reachable.

        Returns:
            At least and at most, (b,) in nats each: the log-odds of `keep_share` and
            `removed_share` of the photo's probability; None where nothing is asked.
        """
        p = photo.double().sigmoid()
        shares = (self.keep_share, self.removed_share)
        least, most = (None if s is None else torch.logit(s * p).to(photo) for s in shares)
        if most is not None and erased is not None:
            most = torch.maximum(most, photo + REACHABLE * (erased - photo))
        return least, most

    def rated(self, log_odds: Tensor, photo: Tensor | None, erased: Tensor | None = None) -> Tensor:
        """The scores that enter the loss.

        "log_odds" leaves them as they are. "log_probability" is log p of a class to keep and
        -log(1 - p) of a class to lose, so that neither pays once the class is safe or gone.
        "clipped_log_odds" stops at the photo's own value L: min(l, L) of a class to keep,
        max(l, -|L|) of a class to lose. A sparsity of "auto" clips all of them at its `bounds`:
        what is asked for and reached pays no more.

        Args:
            log_odds: (b, v, s) in nats, of s masks in v views.
            photo: (b,) log-odds of the photo; None where `needs_photo` is false.
            erased: See `bounds`.

        Returns:
            (b, v, s) in nats.
        """
        sign = torch.tensor(self.signs, device=log_odds.device, dtype=log_odds.dtype).view(-1, 1)
        if self.needs_photo:
            if photo is None:
                raise ValueError("this objective needs the log-odds of the photo")
            each = [self._limit(sign, photo, erased) for sign in self.signs]
            limits = torch.stack(each, 1).unsqueeze(2)
            log_odds = sign * torch.minimum(sign * log_odds, limits)
        if self.score == "log_probability":
            return sign * F.logsigmoid(sign * log_odds)
        return log_odds

    def _limit(self, sign: int, photo: Tensor, erased: Tensor | None) -> Tensor:
        """(b,) where sign * log-odds stops paying."""
        least, most = self.bounds(photo, erased) if self.sparsity == "auto" else (None, None)
        if sign > 0 and least is not None:
            return least
        if sign < 0 and most is not None:
            return -most
        if self.score == "clipped_log_odds":
            return photo if sign > 0 else photo.abs()
        return torch.full_like(photo, math.inf)

    def loss(
        self, score: Tensor, keep_prob: Tensor, step: int, sparsity: Tensor | None = None
    ) -> Tensor:
        """Return the loss of every image, to be minimised.

        Args:
            score: (b * v,) class scores in nats, averaged over an image's masks, view by view.
            keep_prob: (b, 1, h, w) probability of keeping a pixel, at image resolution: the
                penalty is a sum over image pixels, so `sparsity` means the same on every grid.
            step: Index of the optimisation step, from 0.
            sparsity: (b,) in nats per pixel, the ones found so far; used under "auto" only.

        Returns:
            (b,) in nats.

        Source: Chang et al. 2019, eqs. 4 and 5. The signs of the penalties are those of the text
            and of the authors' code; as printed, the two equations have them exchanged.
        """
        size = self.saliency(keep_prob).sum((1, 2, 3))
        if self.smoothness:
            size = size + self.smoothness * total_variation(keep_prob)
        if isinstance(self.sparsity, str):
            if sparsity is None:
                raise ValueError("objective.sparsity=auto needs the sparsity found so far")
            penalty = sparsity * size
        else:
            penalty = self.sparsity * size
        if self.total_variation:
            penalty = penalty + self.total_variation * total_variation(keep_prob)
        warmup = min(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self.class_term(score) + warmup * penalty

    @abstractmethod
    def class_term(self, score: Tensor) -> Tensor:
        """Return the (b,) class term of the loss from the (b * v,) scores."""

    @abstractmethod
    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the saliency of a keep probability; its sum is the size of the region."""


@dataclass(frozen=True)
class SSR(Objective):
    """Smallest sufficient region: keep the class with as few kept pixels as possible."""

    keep_share: float | None = 0.9

    signs = (1,)

    def class_term(self, score: Tensor) -> Tensor:
        """The negative score: the kept pixels shall raise the class."""
        return -score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the probability of being kept."""
        return keep_prob


@dataclass(frozen=True)
class SDR(Objective):
    """Smallest destroying region: lose the class with as few dropped pixels as possible."""

    removed_share: float | None = 0.1

    signs = (-1,)

    def class_term(self, score: Tensor) -> Tensor:
        """The score: the pixels that are left shall lower the class."""
        return score

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the probability of being dropped."""
        return 1 - keep_prob


@dataclass(frozen=True)
class Both(Objective):
    """SSR and SDR of one map: the region alone keeps the class, the rest alone loses it.

    Every drawn mask is scored twice, as it is and as its complement, which costs two rows:
    `-(1 - balance) score(kept) + balance score(rest) + penalties` of the kept region. A balance of
    0 is SSR, one of 1 is SDR with the region as what is kept.

    Args:
        balance: Weight of losing the class against keeping it, in [0, 1].

    Source: the two objectives of Chang et al. 2019, eqs. 4 and 5, added; "hybrid" games of Fong,
        Patrick & Vedaldi 2019, section 3.
    """

    keep_share: float | None = 0.9
    removed_share: float | None = 0.1
    balance: float = 0.5

    signs = (1, -1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.balance <= 1:
            raise ValueError(f"objective.balance must lie in [0, 1], got {self.balance}")

    def views(self, keep: Tensor, samples: int) -> Tensor:
        """The drawn masks, then their complements."""
        drawn = keep.view(-1, samples, *keep.shape[1:])
        return torch.stack([drawn, 1 - drawn], 1).flatten(0, 2)

    def class_term(self, score: Tensor) -> Tensor:
        """The score of what is left minus the score of what is kept, weighted."""
        kept, rest = score.view(-1, 2).unbind(1)
        return self.balance * rest - (1 - self.balance) * kept

    def saliency(self, keep_prob: Tensor) -> Tensor:
        """Return the probability of being kept."""
        return keep_prob
