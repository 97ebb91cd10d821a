"""Does the image keep its class when random parts of it are infilled?"""

from __future__ import annotations

import math

import torch

from fido.batching import Batches
from fido.classifiers.base import Classifier
from fido.hole_masks import HoleMask
from fido.infillers.base import Infiller
from fido.measures.edited import EditedImage
from fido.metrics.base import Column, ImageMetric, ImageScore
from fido.noise import image_seed
from fido.records import Sample
from fido.scores import probability


class InfillProbability(ImageMetric):
    """Probability of the label after random parts of the image were infilled.

    Every infiller gets the same masks. The row without an infiller is the image as it is.
    Images without a label have no value.

    Args:
        classifier: Whose probability is measured.
        law: Draws the masks; see `fido.hole_masks`.
        masks: Masks an image; their mean is the image's value.
        max_batch: Rows that go through the networks at once; see `Batches`.
        seed: Of the masks and the infillers' random numbers.

    Raises:
        ValueError: If `masks` is below 1.

    Source: Chang et al. 2019, Fig. 15.
    """

    higher_is_better = True
    subject = "infiller"
    recorded = ("probability", "dropped")
    columns = (
        Column("probability", "p(label) after infilling", "higher"),
        Column("dropped", "dropped pixels (%)", None, percent=True, digits=1),
    )

    def __init__(
        self,
        classifier: Classifier,
        law: HoleMask,
        masks: int = 1,
        max_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if masks < 1:
            raise ValueError(f"infill_probability.masks must be 1 or more, got {masks}")
        self.classifier = classifier
        self.law = law
        self.masks = masks
        self.batches = Batches(max_batch, classifier.device)
        self.seed = seed

    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`."""
        if sample.label is None:
            return ImageScore(dict.fromkeys(self.recorded, math.nan))
        generator = torch.Generator().manual_seed(image_seed(self.seed, sample.id, "holes"))
        h, w = int(sample.image.shape[-2]), int(sample.image.shape[-1])
        keep = self.law.sample(self.masks, h, w, generator) > 0.5
        if infiller is None:
            keep = torch.ones_like(keep[:1])
        edited = EditedImage(self.classifier, infiller, sample, "random holes", self.seed)
        logits = edited.logits(keep, self.batches)
        chosen = probability(logits, torch.full((len(keep),), sample.label))
        return ImageScore(
            {
                "probability": float(chosen.double().mean()),
                "dropped": 1.0 - float(keep.double().mean()),
            }
        )
