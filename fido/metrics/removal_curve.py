"""How many pixels must go, in saliency order, before an infiller has hidden the class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.baseline_maps import RANDOM
from fido.metrics.base import Column, Curve, ImageMetric, Series
from fido.metrics.functional.ranking import keep_least, pixel_ranks, step_counts, tied_share
from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches

LEAST_FALL = 0.1
"""Nats that infilling everything must take away: shares of less are rounding and noise, and a
single image with shares of some hundreds would be the mean."""


def removal_curve(
    classifier: Classifier,
    infiller: Infiller,
    sample: Sample,
    explanation: Explanation,
    counts: list[int],
    seed: int,
    batches: Batches,
) -> Tensor:
    """(n,) log-odds in nats with the counts[i] most salient pixels dropped and infilled."""
    keep = keep_least(pixel_ranks(explanation.saliency, sample.id, seed), counts)
    logits = EditedImage(classifier, infiller, sample, "removal", seed).logits(keep, batches)
    return classifier.output.log_odds(logits, torch.full((len(keep),), explanation.target))


def suppression(curves: Array) -> Array:
    """(n, m) share of the suppression by infilling everything: `(s_0 - s_k) / (s_0 - s_N)`.

    NaN where infilling everything lowers the log-odds by less than `LEAST_FALL`, or raises them.

    Args:
        curves: (n, m) log-odds in nats.

    Source: Chang et al. 2019, section 4.5.
    """
    first = curves[:, :1]
    whole = first - curves[:, -1:]
    return (first - curves) / np.where(whole >= LEAST_FALL, whole, math.nan)


def pixels_needed(share: Array, counts: Sequence[int], level: float) -> Array:
    """(n,) smallest number of dropped pixels whose suppression reaches a level; NaN without any.

    Linear between the steps. It is reached at the latest when all pixels are dropped.

    Args:
        share: (n, m) suppression at `counts`; see `suppression`.
        counts: m increasing numbers of pixels, from 0.
        level: In [0, 1].
    """
    steps = np.asarray(counts, dtype=np.float64)
    after = (share >= level).argmax(1)
    before = np.maximum(after - 1, 0)
    row = np.arange(len(share))
    low, high = share[row, before], share[row, after]
    climb = np.where(after > 0, high - low, 1.0)
    pixels: Array = steps[before] + (steps[after] - steps[before]) * (level - low) / climb
    return np.where(np.isnan(share).any(1), math.nan, pixels)


class RemovalCurve(ImageMetric):
    """Pixels dropped in saliency order, and infilled, until the log-odds fall by some share.

    The log-odds' fall is measured against that of infilling the whole image. Images for which
    infilling everything hardly lowers the log-odds, or raises them, have no value and are counted.

    Args:
        classifier: Whose log-odds are measured.
        infiller: Infills the dropped pixels, the same for all methods. One that a method explains
            with may favour it.
        levels: Shares of the whole suppression.
        pixels_per_step: Pixels dropped at once.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.
        seed: Of the order of ties and the infiller's random numbers.

    Source: Chang et al. 2019, Fig. 10.
    """

    higher_is_better = False
    revision = 1  # ties of pixels that are not finite
    subject = Explanations((RANDOM,))
    recorded = ("tied",)

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        levels: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
        pixels_per_step: int = 896,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.infiller = infiller
        self.levels = {f"pixels_{round(100 * level)}": level for level in levels}
        self.pixels_per_step = pixels_per_step
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed
        self.counts = step_counts(classifier.size[0] * classifier.size[1], pixels_per_step)
        self.columns = (
            *(
                Column(name, f"pixels to {level:.0%}", "lower", digits=0)
                for name, level in self.levels.items()
            ),
            Column("tied", "tied pixels (%)", None, percent=True, digits=1),
        )
        self.series = Series(
            {name: 100 * level for name, level in self.levels.items()},
            "suppression of the log-odds (%)",
            "pixels dropped and infilled",
        )
        self.curve = Curve(self.counts, "pixels dropped and infilled", "share of the suppression")

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`; the curve holds the log-odds at every step.

        Raises:
            ValueError: If the map's size is not the classifier's.
        """
        if explanation.saliency.numel() != self.counts[-1]:
            raise ValueError(
                f"{sample.id}: a map of {tuple(explanation.saliency.shape[-2:])} pixels, but the "
                f"classifier takes {self.classifier.size}"
            )
        curve = removal_curve(
            self.classifier,
            self.infiller,
            sample,
            explanation,
            self.counts,
            self.seed,
            self.batches,
        )
        return ImageScore({"tied": tied_share(explanation.saliency)}, curve)

    def finalize(self, scores: ScoreSet) -> dict[str, Array]:
        """See `ImageMetric.finalize`; pixels are read off the curves here."""
        share = self._shares(scores)
        return {
            **{name: pixels_needed(share, self.counts, v) for name, v in self.levels.items()},
            "tied": scores.value("tied"),
        }

    def summary_curve(self, scores: ScoreSet) -> Array | None:
        """(steps,) mean share of the suppression over the images for which it is defined."""
        share = self._shares(scores)
        defined = share[~np.isnan(share).any(1)]
        return defined.mean(0) if len(defined) else None

    def _shares(self, scores: ScoreSet) -> Array:
        """(n, steps) suppression, NaN where undefined."""
        if scores.curve is None:
            return np.full((len(scores), len(self.counts)), math.nan)
        return suppression(scores.curve)
