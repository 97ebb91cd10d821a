"""RISE: the average of random masks, weighted by the probability of the class under each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import PerturbedImage
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least
from fido.runtime.noise import ImageNoise


class Rise:
    """`sum_i p_c(image under mask i) * mask i / (N p)`: the mean probability while a pixel is kept.

    A mask is a coarse grid of independent Bernoulli(p) cells, bilinearly upsampled to more than
    the image and shifted at random. The map has a large offset, the probability under an average
    mask, so its threshold is the middle of its range.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped pixels; a soft mask mixes it in softly.
        masks: Number N of masks.
        grid: Cells per side.
        keep_prob: Probability p of keeping a cell, in (0, 1).
        seed: Seed of the masks' and the infiller's random numbers.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Petsiuk et al. 2018, section 3 and eq. 6.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        masks: int = 4000,
        grid: int = 7,
        keep_prob: float = 0.5,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", masks=masks, grid=grid)
        if not 0 < keep_prob < 1:
            raise ValueError(f"explainer.keep_prob must lie between 0 and 1, got {keep_prob}")
        self.classifier = classifier
        self.infiller = infiller
        self.masks = masks
        self.grid = grid
        self.keep_prob = keep_prob
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its masks in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    @torch.no_grad()
    def _explain(self, batch: SampleBatch) -> Explanation:
        target = int(batch.target)
        noise = ImageNoise(self.seed, batch.ids, "rise", batch.image.device)
        cells = (noise.uniform(self.masks, 1, self.grid, self.grid) < self.keep_prob).float()
        shift = noise.uniform(self.masks, 2)
        perturbed = PerturbedImage(self.infiller, batch.image, batch.ids[0], self.seed)

        def weigh(start: int, stop: int) -> tuple[int, Tensor, Tensor]:
            keep = upsampled(cells[start:stop], shift[start:stop], batch.size)
            rows = perturbed.rows(keep, start)
            probability = self.classifier.probabilities(rows)[:, target]
            return stop, probability.mean(), probability @ keep.flatten(1)

        # Thousands of float32 masks add up in float64, so that pieces of any size agree.
        total = torch.zeros(math.prod(batch.size), dtype=torch.float64)
        for done, mean, weighted in self.batches(self.masks, weigh):
            total += weighted.cpu()
            if self.progress is not None:
                self.progress(batch.ids, done, self.masks, {"probability": mean.view(1)})
        saliency = (total / (self.masks * self.keep_prob)).float().view(1, *batch.size)
        return Explanation(
            id=batch.ids[0],
            target=target,
            saliency=saliency,
            threshold=float((saliency.min() + saliency.max()) / 2),
            cost={"forward": self.masks, "backward": 0, "infill": perturbed.infills},
        )


def upsampled(cells: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample coarse masks to the size of the image, shifted at random.

    A grid of s cells is upsampled as if s + 1 cells covered the image's extent plus one cell, and
    cropped with a random offset below one cell.

    Args:
        cells: (n, 1, s, s) of zeros and ones.
        shift: (n, 2) in [0, 1): offset down and right as a share of a cell.
        size: (h, w) in pixels.

    Returns:
        (n, 1, h, w) in [0, 1].

    Source: Petsiuk et al. 2018, section 3.2.
    """
    grid = cells.shape[-1]
    cell = [math.ceil(side / grid) for side in size]
    large = F.interpolate(
        cells, [(grid + 1) * side for side in cell], mode="bilinear", align_corners=False
    )
    offsets = (shift * torch.tensor(cell, device=shift.device)).long().tolist()
    return torch.stack(
        [
            mask[:, top : top + size[0], left : left + size[1]]
            for mask, (top, left) in zip(large, offsets, strict=True)
        ]
    )
