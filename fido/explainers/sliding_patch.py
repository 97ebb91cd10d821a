"""Sliding patch: the drop of the class probability when a patch is infilled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import PerturbedImage
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least, check_choice


class SlidingPatch:
    """`p(x) - p(x with one patch infilled)` for a square patch at every grid position.

    Gray infill is SP, a generative infiller SP-G. The map is signed: where it is negative, the
    class is more probable without the patch. Its threshold is half of its maximum.

    Args:
        classifier: The classifier to explain.
        infiller: Fills the patch.
        patch: Side of the patch in pixels; patches lie inside the image.
        stride: Pixels from one patch to the next.
        alignment: Where a patch's value belongs: "centres" puts it at the patch's centre, bilinear
            between centres and constant outside of them; "stretch" stretches the grid of values
            over the whole image, as the authors' code does, off by up to patch / 2 pixels.
        seed: Seed of the infiller's random numbers.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Zeiler & Fergus 2014; Agarwal & Nguyen 2020, section 3.3 (SP, SP-G).
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        patch: int = 29,
        stride: int = 3,
        alignment: Literal["centres", "stretch"] = "centres",
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", patch=patch, stride=stride)
        check_choice(("centres", "stretch"), "explainer", alignment=alignment)
        self.classifier = classifier
        self.infiller = infiller
        self.patch = patch
        self.stride = stride
        self.alignment = alignment
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its patches in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    @torch.no_grad()
    def _explain(self, batch: SampleBatch) -> Explanation:
        target = int(batch.target)
        corners = self._corners(batch.size)
        perturbed = PerturbedImage(self.infiller, batch.image, batch.ids[0], self.seed)

        def probability(start: int, stop: int) -> Tensor:
            rows = self._rows(perturbed, corners[start:stop], start)
            return self.classifier.probabilities(rows)[:, target]

        probabilities: list[Tensor] = []
        for piece in self.batches(len(corners), probability):
            probabilities.append(piece)
            if self.progress is not None:
                done = sum(map(len, probabilities))
                self.progress(batch.ids, done, len(corners), {"probability": piece.mean().view(1)})
        original = self.classifier.probabilities(batch.image)[0, target]
        saliency = self._to_pixels(original - torch.cat(probabilities), batch.size).cpu()
        return Explanation(
            id=batch.ids[0],
            target=target,
            saliency=saliency,
            threshold=half_of_maximum(saliency),
            cost={"forward": len(corners) + 1, "backward": 0, "infill": perturbed.infills},
        )

    def _corners(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Top and left of every patch, row by row.

        Raises:
            ValueError: If the patch does not fit into the image.
        """
        if self.patch > min(size):
            raise ValueError(
                f"explainer.patch must fit into the image, got {self.patch} pixels for "
                f"{size[0]} x {size[1]}"
            )
        tops, lefts = (range(0, side - self.patch + 1, self.stride) for side in size)
        return [(top, left) for top in tops for left in lefts]

    def _rows(
        self, perturbed: PerturbedImage, corners: Sequence[tuple[int, int]], start: int
    ) -> Tensor:
        """(k, 3, h, w) the image with one patch infilled in each row."""
        p, image, fixed = self.patch, perturbed.image, perturbed.fixed
        if fixed is None:
            keep = image.new_ones(len(corners), 1, *image.shape[-2:])
            for row, (top, left) in enumerate(corners):
                keep[row, :, top : top + p, left : left + p] = 0
            return perturbed.rows(keep, start)
        # One infill serves all patches: copying its tile is cheaper than mixing whole images.
        rows = image.repeat(len(corners), 1, 1, 1)
        for row, (top, left) in enumerate(corners):
            tile = (slice(None), slice(top, top + p), slice(left, left + p))
            rows[row][tile] = fixed[0][tile]
        return rows

    def _to_pixels(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """(patches,) values, row by row -> (1, h, w)."""
        rows, columns = ((side - self.patch) // self.stride + 1 for side in size)
        grid = values.view(1, 1, rows, columns)
        if self.alignment == "stretch":
            return F.interpolate(grid, size, mode="bilinear", align_corners=False)[0]
        first = (self.patch - 1) / 2
        y, x = (
            _normalised((torch.arange(side, device=grid.device) - first) / self.stride, count)
            for side, count in zip(size, (rows, columns), strict=True)
        )
        where = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).unsqueeze(0)
        return F.grid_sample(grid, where, padding_mode="border", align_corners=True)[0]


def _normalised(index: Tensor, count: int) -> Tensor:
    """Fractional indices into `count` values -> coordinates in [-1, 1] from first to last."""
    return 2 * index / max(count - 1, 1) - 1
