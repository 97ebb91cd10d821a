"""What did an explanation cost?"""

from __future__ import annotations

import math

from fido.metrics.base import Column, ImageMetric
from fido.metrics.score_set import ImageScore
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample


class Cost(ImageMetric):
    """Images that passed through each network: the classifier, the infiller, the denoiser.

    A backward pass through the denoiser costs about two forward ones. Networks that a method does
    not have are no number.
    """

    higher_is_better = False
    subject = Explanations()
    columns = (
        Column("forward", "classifier, forward", "lower", digits=0),
        Column("backward", "classifier, backward", "lower", digits=0),
        Column("infill", "infiller", "lower", digits=0),
        Column("denoise", "denoiser, forward", "lower", digits=0),
        Column("denoise_backward", "denoiser, backward", "lower", digits=0),
    )
    recorded = tuple(column.name for column in columns)

    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`."""
        cost = explanation.cost
        return ImageScore({name: float(cost.get(name, math.nan)) for name in self.recorded})
