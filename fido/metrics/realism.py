"""Does a counterfactual look like a photo of its target class?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.data.base import PhotoSource
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.counterfactual_pair import counterfactual_pair
from fido.metrics.functional.feature_distance import (
    frechet_distance,
    kernel_distance,
    neighbour_distance,
)
from fido.metrics.functional.pooled_features import PooledFeatures
from fido.metrics.functional.reference_photos import ReferencePhotos
from fido.metrics.score_set import ImageScore, ScoreSet
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample

IMAGE = "image"
DECIMALS = 4
"""Of the features that are kept for distances of sets; they are of order 1."""


class Realism(ImageMetric):
    """Distance of counterfactuals from real photos of the target class, in a held-out network.

    "knn" is the distance to the k-th nearest photo of the target class, divided by that to the
    k-th nearest photo of the original class: below 1 the image is nearer to the target class.
    "knn_photo" is that of the photo before. "near" is the first of the two distances alone.

    Of the set of n images there are "kid" and "frechet", between the counterfactuals and reference
    photos of the same mix of target classes, and "kid_photos" and "frechet_photos", between n
    other reference photos of that mix and the same ones: what two sets of photos of these sizes
    are apart. The Fréchet distance of few vectors is large whatever they are: compare the two.

    Args:
        classifier: The explained one; says the class of reference photos without a label.
        reference: Makes the source of reference photos; see `ReferencePhotos`.
        extractor: Whose features are compared: not the explained network, nor one that guided.
        layer: Name or index of its layer, whose maps are averaged over places; None takes its
            logits.
        k: Which neighbour; a class with fewer photos has no number.
        most: Reference photos that are taken at the most; see `ReferencePhotos`.

    Raises:
        ValueError: If there is no such layer, or `k` or `most` is below 1.

    Source: the ratio after Jiang et al. 2018 ("To trust or not to trust a classifier"); KID:
    Binkowski et al. 2018; Fréchet distance: Heusel et al. 2017.
    """

    higher_is_better = False
    subject = Explanations()
    recorded = ("knn", "knn_photo", "near", "target")
    recorded_features = (IMAGE,)
    columns = (
        Column("knn", "k-NN ratio target / original", "lower"),
        Column("knn_photo", "k-NN ratio of the photo", None),
        Column("near", "distance to the target class", "lower"),
    )
    set_columns = (
        Column("kid", "KID", "lower", digits=4),
        Column("kid_photos", "KID of photos", None, digits=4),
        Column("frechet", "Fréchet distance", "lower", digits=3),
        Column("frechet_photos", "Fréchet distance of photos", None, digits=3),
        Column("n", "images", None, digits=0),
    )

    reference_key: Tensor

    def __init__(
        self,
        classifier: Classifier,
        reference: Callable[..., PhotoSource],
        extractor: Classifier,
        layer: str | int | None,
        k: int = 5,
        most: int = 1000,
    ) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"realism.k must be 1 or more, got {k}")
        self.extractor = extractor
        self.pooled = PooledFeatures(extractor, layer)
        self.reference = ReferencePhotos(reference, classifier, self.pooled, most)
        self.classifier = classifier
        self.k = k
        self._missing: Exception | None = None
        try:
            key = self.reference.key()
        except (ValueError, OSError) as error:  # said where photos are needed
            key, self._missing = "", error
        # Among the buffers, so that other reference photos make scores on disk void.
        self.register_buffer("reference_key", torch.tensor(list(key.encode()), dtype=torch.uint8))

    @torch.no_grad()
    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`.

        Raises:
            ValueError: If the reference photos are not there.
        """
        pair = counterfactual_pair(sample, explanation)
        if pair is None:
            width = self.pooled(torch.zeros(1, 3, *self.extractor.size)).shape[1]
            nothing = torch.full((width,), math.nan)
            return ImageScore(dict.fromkeys(self.recorded, math.nan), features={IMAGE: nothing})
        if self._missing is not None:
            raise ValueError(
                "metrics.realism needs photos to compare with: metrics.realism.reference.path=DIR, "
                f"or data@metrics.realism.reference=NAME and its settings ({self._missing})"
            ) from self._missing
        answers = self.classifier.probabilities(pair[:1].to(self.classifier.device))
        original, target = int(answers.argmax()), explanation.target
        photo, image = self.pooled(pair)
        to_target, to_original = (
            self.reference.of_class(index, [sample.id]) for index in (target, original)
        )
        near = neighbour_distance(image, to_target, self.k)
        values = {
            "knn": _ratio(near, neighbour_distance(image, to_original, self.k)),
            "knn_photo": _ratio(
                neighbour_distance(photo, to_target, self.k),
                neighbour_distance(photo, to_original, self.k),
            ),
            "near": near,
            "target": float(target),
        }
        return ImageScore(values, features={IMAGE: image.double().round(decimals=DECIMALS)})

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """Distances of the set, for two counterfactuals or more; see the class."""
        features = scores.features.get(IMAGE)
        if features is None:
            return {}
        there: NDArray[np.bool_] = np.logical_not(np.isnan(features).any(axis=1))
        if int(there.sum()) < 2:
            return {}
        images = torch.from_numpy(features[there])
        targets = Counter(scores.value("target")[there].astype(int).tolist())
        photos, others = self._halves(targets, scores.ids)
        if min(len(photos), len(others)) < 2:
            return {}
        return {
            "kid": kernel_distance(images, others),
            "kid_photos": kernel_distance(photos, others),
            "frechet": frechet_distance(images, others),
            "frechet_photos": frechet_distance(photos, others),
            "n": float(len(images)),
        }

    def _halves(self, targets: Mapping[int, int], without: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Reference photos in two parts of the same mix of classes.

        The first has as many of each class as there are counterfactuals of it, or half of the
        photos where there are fewer than twice as many.
        """
        vectors = {index: self.reference.of_class(index, without) for index in targets}
        first = {index: min(n, len(vectors[index]) // 2) for index, n in targets.items()}
        spare = min((len(vectors[i]) - first[i]) / n for i, n in targets.items())
        photos = torch.cat([vectors[i][: first[i]] for i in targets])
        others = [
            vectors[i][first[i] :][: max(1, math.floor(spare * n))] for i, n in targets.items()
        ]
        return photos, torch.cat(others)


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan
