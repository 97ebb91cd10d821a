"""How fast the class goes when salient pixels go, and how fast it comes when they come."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.baseline_maps import RANDOM
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.functional.ranking import (
    area_under,
    keep_least,
    pixel_ranks,
    step_counts,
    tied_share,
)
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


def order_curve(
    classifier: Classifier,
    baseline_image: Infiller,
    sample: Sample,
    explanation: Explanation,
    counts: list[int],
    insert: bool,
    seed: int,
    batches: Batches,
) -> Tensor:
    """Class probability while pixels change between image and baseline_image, salient ones first.

    Args:
        classifier: Whose probability is measured.
        baseline_image: Infills the pixels that are not the image's.
        sample: The image.
        explanation: Gives the order and the class.
        counts: How many pixels have changed at each point.
        insert: Whether pixels go from the image onto the baseline image instead of being deleted.
        seed: Of the order of ties and the baseline image's random numbers.
        batches: Cuts the rows into pieces.

    Returns:
        (n,) probabilities.
    """
    keep = keep_least(pixel_ranks(explanation.saliency, sample.id, seed), counts)
    keep = ~keep if insert else keep
    logits = EditedImage(classifier, baseline_image, sample, "canvas", seed).logits(keep, batches)
    return classifier.output.probability(logits, torch.full((len(keep),), explanation.target))


class Deletion(ImageMetric):
    """Area under the curve of the class probability while pixels are deleted, salient ones first.

    The area is trapezoidal over the share of deleted pixels. The class is the explained one. Tied
    pixels come in a random order fixed by the seed; "tied" is their share.

    Args:
        classifier: Whose probability is measured.
        infiller: What deleted pixels become; RISE's zero is its networks' mean colour.
            The same for all methods; one that a method explains with may favour it.
        pixels_per_step: Pixels changed at once; 224 * 8 in RISE.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.
        seed: Of the order of ties and the infiller's random numbers.

    Source: Petsiuk et al. 2018 (RISE), section 4.2; Agarwal and Nguyen 2020, Table 3.
    """

    higher_is_better = False
    revision = 1  # ties of pixels that are not finite
    subject = Explanations((RANDOM,))
    recorded = ("auc", "tied")
    columns = (
        Column("auc", "deletion AUC", "lower", digits=4),
        Column("tied", "tied pixels (%)", None, percent=True, digits=1),
    )
    insert: ClassVar[bool] = False
    changed: ClassVar[str] = "deleted"

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        pixels_per_step: int = 1792,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.infiller = infiller
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed
        self.counts = step_counts(classifier.size[0] * classifier.size[1], pixels_per_step)
        shares = [count / self.counts[-1] for count in self.counts]
        self.curve = Curve(shares, f"share of pixels {self.changed}", "p(class)")

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`; the curve holds the probability at every step.

        Raises:
            ValueError: If the map's size is not the classifier's.
        """
        if explanation.saliency.numel() != self.counts[-1]:
            raise ValueError(
                f"{sample.id}: a map of {tuple(explanation.saliency.shape[-2:])} pixels, but the "
                f"classifier takes {self.classifier.size}"
            )
        curve = order_curve(
            self.classifier,
            self.infiller,
            sample,
            explanation,
            self.counts,
            self.insert,
            self.seed,
            self.batches,
        )
        values = {"auc": area_under(curve, self.counts), "tied": tied_share(explanation.saliency)}
        return ImageScore(values, curve)


class Insertion(Deletion):
    """The twin of `Deletion`: salient pixels of the image are put onto the baseline image first.

    The baseline image is the whole image infilled; RISE blurs it.

    Source: Petsiuk et al. 2018 (RISE), section 4.2.
    """

    higher_is_better = True
    columns = (
        Column("auc", "insertion AUC", "higher", digits=4),
        Column("tied", "tied pixels (%)", None, percent=True, digits=1),
    )
    insert = True
    changed = "inserted"
