"""What a classifier sees in a method's perturbed images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.superpixels import superpixels
from fido.metrics.base import Column, Curve, ImageMetric
from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Infillers
from fido.records import Sample
from fido.runtime.batching import Batches
from fido.runtime.noise import ImageNoise


class LabelHistogram(ImageMetric):
    """Top-1 labels of an image with random superpixels infilled, as LIME perturbs it.

    Superpixels are kept with probability 1/2, all of them in the first sample, and every infiller
    gets the same ones. "same" is the share of samples that keep
    the label of the image as it was, "distinct" the number of labels among the samples; the
    pooled histogram and the share of its three most frequent labels tell whether the perturbed
    images all look alike to the classifier.

    Args:
        classifier: Names the samples.
        segments: Superpixels wanted.
        samples: Samples an image, the unperturbed one among them.
        shown: Labels in the curve, the most frequent ones.
        rows_per_pass: Rows that go through the networks at once; see `Batches`.
        seed: Of the masks and the infillers' random numbers.

    Source: Agarwal and Nguyen 2020, Fig. 8.
    """

    higher_is_better = True
    subject = Infillers(shows_input=False)
    recorded = ("same", "distinct")
    columns = (
        Column("same", "samples with the image's label (%)", "higher", percent=True, digits=1),
        Column("distinct", "different labels", None, digits=1),
    )

    set_columns = (
        Column("top3", "samples with one of the three first labels (%)", percent=True, digits=1),
    )

    def __init__(
        self,
        classifier: Classifier,
        segments: int = 50,
        samples: int = 500,
        shown: int = 50,
        rows_per_pass: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"label_histogram.samples must be 1 or more, got {samples}")
        self.classifier = classifier
        self.segments = segments
        self.samples = samples
        self.shown = min(shown, len(classifier.class_names))
        self.batches = Batches(rows_per_pass, classifier.device)
        self.seed = seed
        self.curve = Curve(range(1, self.shown + 1), "label, by frequency", "share of the samples")

    def score(self, sample: Sample, infiller: Infiller | None) -> ImageScore:
        """See `ImageMetric.score`; the curve holds how often each class came first."""
        where = superpixels(sample.image, self.segments)
        # LIME's own stream: with equal seed and number these are the subsets that LIME draws.
        noise = ImageNoise(self.seed, [sample.id], "lime")
        kept = noise.uniform(self.samples, int(where.max()) + 1) < 0.5
        kept[0] = True
        edited = EditedImage(self.classifier, infiller, sample, "superpixels", self.seed)
        original = int(self.classifier(edited.image)[0].argmax())
        labels = edited.logits(kept[:, where].unsqueeze(1), self.batches).argmax(1)
        counts = torch.bincount(labels, minlength=len(self.classifier.class_names))
        return ImageScore(
            {
                "same": float((labels == original).double().mean()),
                "distinct": float((counts > 0).sum()),
            },
            counts.double(),
        )

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """Share of all samples that have one of the three most frequent labels."""
        curve = self.summary_curve(scores)
        return {} if curve is None else {"top3": float(curve[:3].sum())}

    def summary_curve(self, scores: ScoreSet) -> Array | None:
        """(shown,) shares of the most frequent labels among the samples of all images."""
        counts = scores.defined_curves()
        if not len(counts):
            return None
        total = counts.sum(0)
        shares: Array = total[self._order(total)] / total.sum()
        return shares

    def curve_names(self, scores: ScoreSet) -> list[str] | None:
        """Names of the most frequent labels, in order."""
        counts = scores.defined_curves()
        if not len(counts):
            return None
        return [self.classifier.class_names[i] for i in self._order(counts.sum(0))]

    def _order(self, total: Array) -> NDArray[np.int64]:
        """(shown,) classes, the most frequent one first, of equal ones the first."""
        order: NDArray[np.int64] = np.argsort(-total, kind="stable")[: self.shown]
        return order
