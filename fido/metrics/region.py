"""Is the explained region enough for the class, and is it needed?"""

from __future__ import annotations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.metrics.base import Column, ImageMetric
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


def region_probabilities(
    classifier: Classifier,
    infiller: Infiller,
    sample: Sample,
    region: Tensor,
    target: int,
    seed: int = 0,
    batches: Batches | None = None,
) -> dict[str, float]:
    """Class probability of the image, with only a region kept, and with just that region removed.

    Args:
        classifier: Whose probability is measured.
        infiller: Fills the pixels that go.
        sample: The image.
        region: (1, h, w) bool.
        target: Class index.
        seed: Of the infiller's random numbers.
        batches: Cuts the two edits into pieces; None takes the device's default.

    Returns:
        "p_original"; "p_kept" after everything but the region was infilled; "p_removed" after the
        region was infilled; "area", the region's share of the image.
    """
    batches = Batches(None, classifier.device) if batches is None else batches
    edited = EditedImage(classifier, infiller, sample, "region", seed)
    with torch.no_grad():
        original = classifier(edited.image).cpu()
    logits = torch.cat([original, edited.logits(torch.stack([region, ~region]), batches)])
    rated = classifier.output.probability(logits, torch.full((3,), target))
    p_original, p_kept, p_removed = rated.tolist()
    area = float(region.double().mean())
    return {"p_original": p_original, "p_kept": p_kept, "p_removed": p_removed, "area": area}


class RegionProbability(ImageMetric):
    """Class probability when only the explained region is kept, and when just it is removed.

    "p_kept" is high where the region is sufficient for the class, "p_removed" low where it is
    necessary; everything else is infilled. Both are easy for a region that is the whole image:
    read them beside "area", and beside the row Full.

    Args:
        classifier: Whose probability is measured.
        infiller: Fills the pixels that go, the same for all methods. One that a method explains
            with may favour it.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.
        seed: Of the infiller's random numbers.

    Source: Fong and Vedaldi 2017 (preservation and deletion game); Chang et al. 2019 (smallest
    sufficient and smallest destroying region, with a generative infiller).
    """

    higher_is_better = True
    subject = Explanations(REFERENCE_ROWS)
    recorded = ("p_kept", "p_removed", "area", "p_original")
    columns = (
        Column("p_kept", "p(class), region kept", "higher"),
        Column("p_removed", "p(class), region removed", "lower"),
        Column("area", "region (% of the image)", None, percent=True, digits=1),
        Column("p_original", "p(class) of the image", None),
    )

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.infiller = infiller
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`.

        Raises:
            ValueError: If the map has other pixels than the image.
        """
        region = explanation.region
        if region.shape[-2:] != sample.image.shape[-2:]:
            raise ValueError(
                f"{sample.id}: a map of {tuple(region.shape[-2:])} pixels for an image of "
                f"{tuple(sample.image.shape[-2:])}; give the store's own image"
            )
        return ImageScore(
            region_probabilities(
                self.classifier,
                self.infiller,
                sample,
                region,
                explanation.target,
                self.seed,
                self.batches,
            )
        )
