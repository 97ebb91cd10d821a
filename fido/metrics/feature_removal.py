"""Does filling in the object's region remove the object?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.image_similarity import ms_ssim
from fido.metrics.functional.object_region import ObjectRegion
from fido.metrics.functional.perceptual import perceptual_distance
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Infillers
from fido.records import Sample


class FeatureRemoval(ImageMetric):
    """What is left of the object after its region was filled: for a classifier and for the eye.

    "accuracy": whether an independent classifier still names the label. "ms_ssim" and "lpips":
    similarity and perceptual distance to the image as it was. The row without an infiller is the
    image as it is. Images without a label or without a region have no value.

    Args:
        classifier: An independent one: neither explained nor used to train an infiller. Images are
            resized to its size.
        region: Finds the object's pixels.
        lpips: Backbone of the perceptual distance, "alex", "vgg" or "squeeze": its torchvision
            weights must be in TORCH_HOME or within reach; None leaves the distance out.
        seed: Of the infillers' random numbers.

    Raises:
        FileNotFoundError: If LPIPS is asked for and its weights are not there.

    Source: Agarwal and Nguyen 2020, Table 1.
    """

    higher_is_better = False
    revision = 1  # images are resized for the classifier
    subject = Infillers()

    def __init__(
        self,
        classifier: Classifier,
        region: ObjectRegion,
        lpips: Literal["alex", "vgg", "squeeze"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.region = region
        self.lpips = None
        columns = [
            Column("accuracy", "top-1 accuracy (%)", "lower", percent=True, digits=1),
            Column("ms_ssim", "MS-SSIM", "lower"),
            Column("region", "filled region (% of the image)", None, percent=True, digits=1),
        ]
        if lpips is not None:
            self.lpips = perceptual_distance(lpips, "feature_removal.lpips")
            columns.insert(2, Column("lpips", f"LPIPS ({lpips})", "higher"))
        self.columns = tuple(columns)
        self.recorded = tuple(column.name for column in columns)
        self.seed = seed

    @torch.no_grad()
    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`."""
        region = self.region.find(sample)
        if sample.label is None or region is None or not bool(region.any()):
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        keep = ~region.view(1, 1, *region.shape)
        edit = EditedImage(self.classifier, infiller, sample, "object", self.seed)
        image, edited = edit.image, edit.images(keep)
        values = {
            "accuracy": float(self._names(edited) == sample.label),
            "ms_ssim": float(ms_ssim(image, edited)),
            "region": float(region.double().mean()),
        }
        if self.lpips is not None:
            values["lpips"] = float(self.lpips(edited, image))
        return ImageScore(values)

    def _names(self, image: Tensor) -> int:
        """The independent classifier's class of (1, 3, h, w) in [0, 1], resized for it."""
        if tuple(image.shape[-2:]) != tuple(self.classifier.size):
            image = functional.interpolate(
                image, self.classifier.size, mode="bilinear", antialias=True, align_corners=False
            )
        return int(self.classifier(image)[0].argmax())
