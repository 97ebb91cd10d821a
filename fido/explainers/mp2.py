"""MP2: drop cells by gradient until the class is at chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.infillers.base import Infiller
from fido.masks.concrete import composite
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class Mp2:
    """Drop the cells of highest gradient norm, two a step, until the class is at chance.

    Chance is one in the number of classes, in three decimals as in the paper; see `chance`.

    The gradient is that of the log-odds, which orders cells as that of the probability does and
    does not vanish for confident classifiers.

    The map is the order in which cells were dropped: 1 for the first of K, 1 / K for the last, 0
    for cells never dropped, with threshold 0, so that the region is what was dropped. When chance
    is not reached within the limit, the map is that of the cells dropped until then; the curve
    "reached_chance" (in `scores.csv` as `last_reached_chance`) is 1 from where it is reached, and
    "probability" says how near it came.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped pixels; blur is MP2, a generative infiller MP2-G.
        grid: Cells of the mask per side.
        cells_per_step: Cells dropped per step.
        gradient: "image_cell" is the norm of the gradient with respect to the perturbed image's
            pixels in a cell; "mask" is the absolute derivative with respect to the cell, which is
            near 0 everywhere for infillers that return kept pixels as they are.
        map: "order" as above, or "binary": 1 where dropped, threshold 0.5.
        max_steps: Limit of steps; None drops every cell if need be.
        seed: Seed of the infiller's random numbers.
        progress: Called after every step; see `Progress`.
        rows_per_pass: Images side by side; see `Batches`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Agarwal & Nguyen 2020, section 3.5 (MP2, MP2-G).
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        grid: int = 28,
        cells_per_step: int = 2,
        gradient: Literal["image_cell", "mask"] = "image_cell",
        map: Literal["order", "binary"] = "order",
        max_steps: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(
            1, "explainer", grid=grid, cells_per_step=cells_per_step, max_steps=max_steps
        )
        check_choice(("image_cell", "mask"), "explainer", gradient=gradient)
        check_choice(("order", "binary"), "explainer", map=map)
        self.classifier = classifier
        self.infiller = infiller
        self.grid = grid
        self.cells_per_step = cells_per_step
        self.gradient = gradient
        self.map = map
        self.limit = math.ceil(grid * grid / cells_per_step)
        if max_steps is not None:
            self.limit = min(self.limit, max_steps)
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images side by side, each leaves when it has reached chance."""
        parts = self.batches(len(samples), lambda start, stop: self._explain(samples[start:stop]))
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        growth = [Growth(self.grid) for _ in samples]
        fixed = self._fixed_infill(batch.image)
        active = list(range(len(samples)))
        for step in range(self.limit + 1):
            # Classify the images as they are now; take the gradient with respect to every cell.
            score, probability, chance, norms = self._gradients(batch, growth, active, fixed, step)
            for row, i in enumerate(active):
                growth[i].note(float(score[row]), float(probability[row]), chance)

            # An image whose class is at chance is done.
            left = [row for row, i in enumerate(active) if not growth[i].at_chance]
            if step == self.limit or not left:
                break

            # Drop the cells of largest gradient in the others.
            for row in left:
                growth[active[row]].drop(norms[row], self.cells_per_step)
            active = [active[row] for row in left]
            if step + 1 < self.limit:
                self._report(batch, growth, step + 1)
        self._report(batch, growth, self.limit)
        return [self._explanation(batch, i, grown, fixed) for i, grown in enumerate(growth)]

    @torch.enable_grad()
    def _gradients(
        self,
        batch: SampleBatch,
        growth: Sequence[Growth],
        active: Sequence[int],
        fixed: Tensor | None,
        step: int,
    ) -> tuple[Tensor, Tensor, float, Tensor]:
        """(n,) log-odds, (n,) probabilities, chance, and (n, cells) gradient norms."""
        image, target = batch.image[active], batch.target[active]
        cells = torch.stack([growth[i].keep for i in active]).to(image.device)
        keep = F.interpolate(cells.requires_grad_(), batch.size, mode="nearest-exact")
        if fixed is None:
            noise = self._noise([batch.ids[i] for i in active], step, image.device)
            infill = self.infiller.infill(image, keep.detach(), noise)
        else:
            infill = fixed[active]
        mixed = composite(image, keep, infill)
        if self.gradient == "image_cell":
            mixed = mixed.detach().requires_grad_()
        logits = self.classifier(mixed)
        score = self.classifier.output.log_odds(logits, target)
        inputs = mixed if self.gradient == "image_cell" else cells
        (slope,) = torch.autograd.grad(score.sum(), inputs)
        norms = self._norms(slope) if self.gradient == "image_cell" else slope.abs()
        probability = self.classifier.output.probability(logits.detach(), target)
        return score.detach(), probability, chance(logits.shape[1]), norms.flatten(1).cpu()

    def _norms(self, slope: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, cells) L2 norm over each cell's pixels and channels."""
        n, _, h, w = slope.shape
        numbers = torch.arange(self.grid**2, dtype=torch.float32, device=slope.device)
        cell = F.interpolate(numbers.view(1, 1, self.grid, self.grid), (h, w), mode="nearest-exact")
        squares = slope.square().sum(1).flatten(1)
        norms = squares.new_zeros(n, self.grid**2)
        return norms.index_add_(1, cell.flatten().long(), squares).sqrt()

    def _fixed_infill(self, image: Tensor) -> Tensor | None:
        """(b, 3, h, w) for infillers whose proposal does not depend on the mask, else None."""
        if not self.infiller.one_proposal:
            return None
        return self.infiller.infill(image, torch.zeros_like(image[:, :1]))

    def _noise(self, ids: Sequence[str], step: int, device: torch.device) -> ImageNoise | None:
        # A stream a step: which images are still active must not shift anybody's numbers.
        if not self.infiller.needs_noise:
            return None
        return ImageNoise(self.seed, ids, f"infill {step}", device)

    def _report(self, batch: SampleBatch, growth: Sequence[Growth], step: int) -> None:
        if self.progress is not None:
            newest = torch.tensor([grown.curves["probability"][-1] for grown in growth])
            self.progress(batch.ids, step, self.limit, {"probability": newest})

    def _explanation(
        self, batch: SampleBatch, i: int, grown: Growth, fixed: Tensor | None
    ) -> Explanation:
        keep = F.interpolate(grown.keep.unsqueeze(0), batch.size, mode="nearest-exact")[0]
        order = F.interpolate(grown.order().unsqueeze(0), batch.size, mode="nearest-exact")[0]
        passes = len(grown.curves["score"])
        return Explanation(
            id=batch.ids[i],
            target=int(batch.target[i]),
            saliency=order if self.map == "order" else 1 - keep,
            threshold=0.0 if self.map == "order" else 0.5,
            keep_prob=keep,
            history={name: torch.tensor(curve) for name, curve in grown.curves.items()},
            cost={
                "forward": passes,
                "backward": passes,
                "infill": passes if fixed is None else 1,
            },
        )


def chance(classes: int) -> float:
    """The probability of a random guess in three decimals, never below one in `classes`.

    0.001 for the 1,000 classes of ImageNet and 0.003 for the 365 of Places365.

    Source: Agarwal & Nguyen 2020, section 3.5.
    """
    return max(round(1 / classes, 3), 1 / classes)


class Growth:
    """The mask of one image while cells are dropped from it.

    Attributes:
        keep: (1, grid, grid) of zeros and ones.
        dropped: Cells in the order in which they were dropped.
        at_chance: Whether the class has come down to chance.
        curves: One value per pass through the classifier.
    """

    def __init__(self, grid: int) -> None:
        self.keep = torch.ones(1, grid, grid)
        self.dropped: list[int] = []
        self.at_chance = False
        names = ("score", "probability", "area", "reached_chance")
        self.curves: dict[str, list[float]] = {name: [] for name in names}

    def note(self, score: float, probability: float, chance: float) -> None:
        """Record the classifier's output for the present mask."""
        self.at_chance = probability <= chance
        area = len(self.dropped) / self.keep.numel()
        values = (score, probability, area, float(self.at_chance))
        for curve, value in zip(self.curves.values(), values, strict=True):
            curve.append(value)

    def drop(self, norms: Tensor, count: int) -> None:
        """Drop the `count` kept cells of highest norm, the first of equal ones.

        Args:
            norms: (cells,).
            count: Cells to drop; what is left if there are fewer.
        """
        norms = norms.masked_fill(self.keep.flatten() == 0, -torch.inf)
        order = torch.sort(norms, descending=True, stable=True).indices
        chosen = order[: min(count, self.keep.numel() - len(self.dropped))]
        self.dropped += chosen.tolist()
        self.keep.view(-1)[chosen] = 0

    def order(self) -> Tensor:
        """(1, grid, grid): 1 for the first cell dropped down to 1 / K for the last, else 0."""
        order = torch.zeros(self.keep.numel())
        count = len(self.dropped)
        order[self.dropped] = torch.arange(count, 0, -1) / max(count, 1)
        return order.view_as(self.keep)
