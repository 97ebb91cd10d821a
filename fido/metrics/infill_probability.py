"""Does the image keep its class when random parts of it are infilled?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.distributions.base import MaskDistribution, sample_masks
from fido.metrics.base import Column, ImageMetric
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Infillers
from fido.records import Sample
from fido.runtime.batching import Batches


class InfillProbability(ImageMetric):
    """Probability of the label after random parts of the image were infilled.

    A mask distribution is a group of columns. Every infiller gets the same masks. The row without
    an infiller is the image as it is. Images without a label have no value, and neither have
    images for which a distribution has no mask.

    Args:
        classifier: Whose probability is measured.
        mask_distributions: Name to mask distribution.
        masks: Masks an image and distribution; their mean is the image's value.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.
        seed: Of the masks and the infillers' random numbers.

    Raises:
        ValueError: If `masks` is below 1, or there is no distribution.

    Source: Chang et al. 2019, Fig. 15.
    """

    higher_is_better = True
    revision = 1  # masks of a store were laid over other pixels
    subject = Infillers()

    def __init__(
        self,
        classifier: Classifier,
        mask_distributions: Mapping[str, MaskDistribution],
        masks: int = 1,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if masks < 1 or not mask_distributions:
            raise ValueError(
                "infill_probability.masks must be 1 or more, and .mask_distributions must name one "
                f"or more; got {masks} masks of {list(mask_distributions)}"
            )
        self.classifier = classifier
        self.mask_distributions = dict(mask_distributions)
        self.masks = masks
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed
        self.columns = tuple(column for mask in mask_distributions for column in _columns(mask))
        self.recorded = tuple(column.name for column in self.columns)

    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`."""
        values = dict.fromkeys(self.recorded, math.nan)
        if sample.label is None:
            return ImageScore(values)
        edited = EditedImage(self.classifier, infiller, sample, "holes", self.seed)
        as_it_is = float(self.classifier.probabilities(edited.image)[0, sample.label])
        masks = sample_masks(self.mask_distributions, sample, self.masks, self.seed)
        for mask, keep in masks.items():
            p, dropped = as_it_is, 0.0
            if infiller is not None:
                logits = edited.logits(keep, self.batches)
                label = torch.full((len(keep),), sample.label)
                p = float(self.classifier.output.probability(logits, label).double().mean())
                dropped = 1.0 - float(keep.double().mean())
            values |= {f"{mask}_probability": p, f"{mask}_dropped": dropped}
        return ImageScore(values)


def _columns(mask: str) -> list[Column]:
    return [
        Column(f"{mask}_probability", "p(label) after infilling", "higher", group=mask),
        Column(f"{mask}_dropped", "dropped pixels (%)", percent=True, digits=1, group=mask),
    ]
