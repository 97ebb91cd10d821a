"""How near infilled images are to the photos that they were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.classifiers.layers import DeepFeatures
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.distributions.base import MaskDistribution, sample_masks
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.feature_distance import (
    feature_distance,
    frechet_distance,
)
from fido.metrics.functional.image_similarity import hole_l1, psnr, ssim_and_ms_ssim
from fido.metrics.score_set import ImageScore, ScoreSet
from fido.metrics.subjects import Infillers
from fido.records import Sample

PHOTO = ""
"""Name of the photo's features beside those of infilled images, named by mask distribution."""

DECIMALS = 4
"""Of the pooled features that are kept for the distance of sets; they are of order 1."""


class InfillQuality(ImageMetric):
    """Distance of infilled images from the image, for one mask of every distribution.

    The numbers of a mask distribution are a group of columns: "l1" over dropped pixels; "psnr",
    "ssim", "ms_ssim" of the composed image; "feature", see `feature_distance`. Over the set of
    images, `set_values` has the Fréchet distance between photos and composed images,
    "<mask>/frechet", in the last layer's features averaged over places, and the number of images,
    "<mask>/n".

    A distribution that drops nothing from an image, or has no mask for it (no boxes), has no
    numbers there and leaves the image out of its Fréchet distance.

    Args:
        classifier: Whose features are compared; neither explained nor used in training.
        layers: Its layers, by name or index; see `DeepFeatures`.
        mask_distributions: Name to mask distribution.
        seed: Of the masks and the infillers' random numbers.

    Raises:
        ValueError: If there is no such layer, or no distribution.
    """

    higher_is_better = False
    revision = 2  # features have a place of their own beside the numbers
    subject = Infillers(shows_input=False)

    def __init__(
        self,
        classifier: Classifier,
        layers: Sequence[str | int],
        mask_distributions: Mapping[str, MaskDistribution],
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not mask_distributions:
            raise ValueError("infill_quality.mask_distributions must name one or more")
        self.classifier = classifier
        self.deep_features = DeepFeatures(classifier, layers)
        self.mask_distributions = dict(mask_distributions)
        self.seed = seed
        self.columns = tuple(column for mask in mask_distributions for column in _columns(mask))
        self.recorded = tuple(column.name for column in self.columns)
        self.recorded_features = (PHOTO, *mask_distributions)
        self.set_columns = tuple(
            column for mask in mask_distributions for column in _set_columns(mask)
        )

    @torch.no_grad()
    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`; features are those of the photo and of its infilled images."""
        masks = sample_masks(self.mask_distributions, sample, seed=self.seed)
        masks = {mask: keep for mask, keep in masks.items() if not bool(keep.all())}
        edit = EditedImage(self.classifier, infiller, sample, "holes", self.seed)
        original = self.deep_features(edit.image)
        values = dict.fromkeys(self.recorded, math.nan)
        pooled = {PHOTO: _pool(original[-1])[0]}
        if masks:
            # One distribution at a time: what an infiller draws must not depend on the others.
            filled = torch.cat([edit.images(keep) for keep in masks.values()])
            keeps = torch.cat(list(masks.values())).to(filled.device)
            features = self.deep_features(filled)
            similar, multi_scale = ssim_and_ms_ssim(edit.image, filled)
            measured = {
                "l1": hole_l1(edit.image, filled, keeps),
                "psnr": psnr(edit.image, filled),
                "ssim": similar,
                "ms_ssim": multi_scale,
                "feature": feature_distance(original, features),
                "dropped": (~keeps).double().mean((1, 2, 3)),
            }
            for row, mask in enumerate(masks):
                values |= {
                    f"{mask}_{name}": float(numbers[row]) for name, numbers in measured.items()
                }
            pooled |= dict(zip(masks, _pool(features[-1]), strict=True))
        nothing = torch.full_like(pooled[PHOTO], math.nan)
        pooled = {name: pooled.get(name, nothing) for name in self.recorded_features}
        return ImageScore(values, features=pooled)

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """Fréchet distance and number of images by mask distribution, for two images or more."""
        photos = scores.features.get(PHOTO)
        set_values: dict[str, float] = {}
        for mask in self.mask_distributions:
            infilled = scores.features.get(mask)
            if photos is None or infilled is None:
                continue
            there = ~np.isnan(infilled).any(1)
            if int(there.sum()) > 1:
                a, b = (torch.from_numpy(x[there]) for x in (photos, infilled))
                set_values[f"{mask}/frechet"] = frechet_distance(a, b)
                set_values[f"{mask}/n"] = float(there.sum())
        return set_values


def _columns(mask: str) -> list[Column]:
    return [
        Column(f"{mask}_l1", "hole L1", "lower", digits=4, group=mask),
        Column(f"{mask}_psnr", "PSNR (dB)", "higher", digits=2, group=mask),
        Column(f"{mask}_ssim", "SSIM", "higher", group=mask),
        Column(f"{mask}_ms_ssim", "MS-SSIM", "higher", group=mask),
        Column(f"{mask}_feature", "feature distance", "lower", digits=4, group=mask),
        Column(f"{mask}_dropped", "dropped pixels (%)", percent=True, digits=1, group=mask),
    ]


def _set_columns(mask: str) -> list[Column]:
    return [
        Column(f"{mask}/frechet", "Fréchet distance of the sets", "lower", digits=4, group=mask),
        Column(f"{mask}/n", "images", digits=0, group=mask),
    ]


def _pool(features: Tensor) -> Tensor:
    """(n, channels, h, w) -> (n, channels) float64 means over places, rounded for the disk."""
    return features.double().mean((2, 3)).round(decimals=DECIMALS).cpu()
