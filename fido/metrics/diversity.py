"""How different are several counterfactuals of one photo?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.classifiers.layers import DeepFeatures
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.feature_distance import feature_distance
from fido.metrics.functional.image_distance import lp_distance
from fido.metrics.functional.pooled_features import resized
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import CounterfactualGroups


class Diversity(ImageMetric):
    """Mean distance between counterfactuals of one photo and target, over all pairs of them.

    "feature": see `feature_distance`; "l1": mean absolute difference in [0, 1]. Meant for runs that
    differ in the seed: `evaluation.group_by=seed`, or several seeds in one folder. Noise alone
    makes images different, too: compare with the control.

    Args:
        classifier: Whose features are compared; images are resized for it.
        layers: Its layers, by name or index; see `DeepFeatures`.

    Raises:
        ValueError: If there is no such layer.

    Source: Jeanneret et al. 2022, section 4 (sigma_L), there with LPIPS.
    """

    higher_is_better = True
    subject = CounterfactualGroups()
    recorded = ("feature", "l1", "images")
    columns = (
        Column("feature", "feature distance of pairs", "higher", digits=4),
        Column("l1", "L1 of pairs", "higher", digits=4),
        Column("images", "counterfactuals", None, digits=0),
    )

    def __init__(self, classifier: Classifier, layers: Sequence[str | int]) -> None:
        super().__init__()
        self.classifier = classifier
        self.deep_features = DeepFeatures(classifier, layers)

    @torch.no_grad()
    def score(self, image_id: str, images: Tensor) -> ImageScore:
        """See `ImageMetric.score`.

        Args:
            image_id: The photo's id.
            images: (n, 3, h, w) uint8, n at least 2.
        """
        pixels = images.float() / 255
        features = self.deep_features(resized(pixels, self.classifier))
        pairs = torch.tensor(list(combinations(range(len(pixels)), 2)))
        a, b = pairs.T
        return ImageScore(
            {
                "feature": float(
                    feature_distance([f[a] for f in features], [f[b] for f in features]).mean()
                ),
                "l1": float(lp_distance(pixels[a], pixels[b], 1).mean()),
                "images": float(len(pixels)),
            }
        )
