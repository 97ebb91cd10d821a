"""Do the maps change when the classifier's weights do?"""

from __future__ import annotations

from torch import Tensor

from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.map_similarity import scaled, spearman, ssim
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import MapPairs


class ModelRandomization(ImageMetric):
    """Similarity of a map to that for the classifier with some of its layers randomised.

    The first run of a group explains the trained classifier, each of the others the classifier
    with more of its last layers drawn anew (`classifier=randomised classifier.layers=N`); all
    must explain the same classes (`target=label`). A map that stays the same does not depend on
    what the classifier has learned.

    Source: Adebayo et al. 2018, section 4 (their figures compare signed and absolute maps by
    rank correlation and SSIM).
    """

    higher_is_better = False
    revision = 1  # non-finite pixels are the smallest finite value, not 0
    subject = MapPairs()
    recorded = ("spearman", "spearman_abs", "ssim")
    columns = (
        Column("spearman", "Spearman", "lower"),
        Column("spearman_abs", "Spearman of magnitudes", "lower"),
        Column("ssim", "SSIM", "lower"),
    )

    def score(self, image_id: str, trained: Tensor, randomised: Tensor) -> ImageScore:
        """See `ImageMetric.score`."""
        a, b = scaled(trained), scaled(randomised)
        return ImageScore(
            {
                "spearman": spearman(a, b),
                "spearman_abs": spearman(abs(a), abs(b)),
                "ssim": ssim(a, b),
            }
        )
