"""FIDO: learned Bernoulli masks over infilled pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress
from fido.explainers.mask_fit import MaskFit
from fido.infillers.base import Infiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import Objective
from fido.records import Explanation, Sample


class Fido:
    """Finds the smallest region that keeps a class (SSR) or whose loss destroys it (SDR).

    Args:
        classifier: What is explained.
        infiller: What stands in for dropped pixels.
        objective: SSR or SDR.
        mask: Settings of `ConcreteMask` by name (grid, temperature, ...).
        samples: Masks drawn an image and step.
        steps: Optimisation steps.
        learning_rate: Adam's, falling linearly to 0.
        seed: Of the masks' and the infiller's random numbers.
        progress: Told of every step; see `Progress`.

    Raises:
        ValueError: If a number is out of range.

    Source: Chang et al. 2019.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        objective: Objective,
        mask: Mapping[str, Any],
        samples: int = 8,
        steps: int = 300,
        learning_rate: float = 0.05,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.mask = dict(mask)
        self.fit = MaskFit(
            self._new_mask,
            classifier,
            infiller,
            objective,
            samples,
            steps,
            learning_rate,
            seed,
            progress,
        )

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; all samples are optimised in one fit."""
        return self.fit.explain(samples)

    def _new_mask(self, images: int, size: tuple[int, int]) -> ConcreteMask:
        return ConcreteMask(images, size, **self.mask)
