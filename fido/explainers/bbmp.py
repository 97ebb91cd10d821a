"""BBMP: one soft mask over infilled pixels, where FIDO learns a distribution."""

from __future__ import annotations

from collections.abc import Sequence

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress
from fido.explainers.mask_fit import MaskFit
from fido.infillers.base import Infiller
from fido.masks.objectives import Objective
from fido.masks.point import PointMask, binarize_full
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


class Bbmp:
    """Learns a keep-mask in [0, 1] under FIDO's objectives: black-box meaningful perturbation.

    The mask starts at 1. A pixel is shown to the infiller only while its keep value is 1, so that
    after the first steps the infiller sees little of the image.

    Args:
        classifier: What is explained.
        infiller: What stands in for dropped pixels.
        objective: SSR or SDR.
        grid: Cells of the mask a side, or (rows, columns).
        align_corners: Of the mask's bilinear upsampling.
        steps: Optimisation steps.
        learning_rate: Adam's, falling linearly to 0.
        seed: Of the infiller's random numbers.
        progress: Told of every step; see `Progress`.
        rows_per_pass: Images optimised side by side; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019, algorithm 1.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        grid: int | Sequence[int] = 56,
        align_corners: bool = False,
        steps: int = 300,
        learning_rate: float = 0.05,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        self.grid = grid if isinstance(grid, int) else (grid[0], grid[1])
        self.align_corners = align_corners
        self.fit = MaskFit(
            self._new_mask,
            classifier,
            infiller,
            objective,
            1,
            steps,
            learning_rate,
            seed,
            progress,
            binarize_full,
            Batches(rows_per_pass, classifier.device),
        )

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; a map of keep values, threshold 0.5."""
        return self.fit.explain(samples)

    def _new_mask(self, images: int, size: tuple[int, int]) -> PointMask:
        return PointMask(images, size, self.grid, align_corners=self.align_corners)
