"""MP: the smooth mask under which the probability of the class is lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.infillers.base import Infiller
from fido.masks.concrete import binarize, composite
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_above, check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class Mp:
    """Meaningful perturbation: minimise `p_c + l1 sum |1 - m| + l2 sum |grad m|^power` over m.

    m is a coarse keep-mask in [0, 1], upsampled by nearest neighbour; the image is shifted by a
    random pixel or two in every step. The map is `1 - m`, bilinear, threshold 0.5.

    With an infiller that looks at the mask this is MP-G: the mask is rounded in the forward pass
    and the gradient passes through the rounding as if it were not there.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped pixels; blur is the paper's.
        grid: Cells of the mask per side.
        steps: Optimisation steps.
        learning_rate: Learning rate of Adam, constant.
        sparsity: Probability for each cell dropped (l1).
        total_variation: Probability for each unit of total variation of the cells (l2).
        power: Power of the differences of neighbouring cells.
        jitter: Number of shifts a direction, -jitter / 2 to jitter / 2 - 1 pixels; 0 is none.
        jitter_what: "image" shifts the image under a fixed mask; "composite" shifts the masked
            image.
        binary: Whether the mask is rounded; None means for infillers that see it.
        seed: Seed of the initial mask's, the shifts' and the infiller's random numbers.
        progress: Called after every step; see `Progress`.
        rows_per_pass: Images optimised side by side; see `Batches`.

    Raises:
        ValueError: If a number is out of range.

    Source: Fong & Vedaldi 2017, eq. 6, as in Agarwal & Nguyen 2020, section 3.5 (MP, MP-G).
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        grid: int = 28,
        steps: int = 300,
        learning_rate: float = 0.1,
        sparsity: float = 1e-4,
        total_variation: float = 1e-2,
        power: float = 3.0,
        jitter: int = 4,
        jitter_what: Literal["image", "composite"] = "image",
        binary: bool | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", grid=grid, steps=steps, power=power)
        check_above(0, "explainer", learning_rate=learning_rate)
        check_at_least(
            0, "explainer", sparsity=sparsity, total_variation=total_variation, jitter=jitter
        )
        check_choice(("image", "composite"), "explainer", jitter_what=jitter_what)
        self.classifier = classifier
        self.infiller = infiller
        self.grid = grid
        self.steps = steps
        self.learning_rate = learning_rate
        self.sparsity = sparsity
        self.total_variation = total_variation
        self.power = power
        self.jitter = jitter
        self.jitter_what = jitter_what
        self.binary = infiller.sees_mask if binary is None else binary
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images side by side, each as if it were alone."""
        parts = self.batches(len(samples), lambda start, stop: self._explain(samples[start:stop]))
        return [explanation for part in parts for explanation in part]

    @torch.enable_grad()
    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        noise = ImageNoise(self.seed, batch.ids, "mp", batch.image.device)
        infill_noise = (
            ImageNoise(self.seed, batch.ids, "infill", batch.image.device)
            if self.infiller.needs_noise
            else None
        )
        cells = noise.uniform(1, 1, self.grid, self.grid).requires_grad_()
        optimizer = torch.optim.Adam([cells], self.learning_rate)
        curves: dict[str, list[Tensor]] = {}
        for step in range(self.steps):
            # Shift the image and drop what the mask drops.
            shift = (noise.uniform(1, 2) * self.jitter).long()
            logits = self.classifier(self._perturbed(batch, cells, shift, infill_noise))

            # Weigh the probability of the class against the size of the mask.
            p = self.classifier.output.probability(logits, batch.target)
            loss = p + self.penalty(cells)

            # Gradient step.
            (cells.grad,) = torch.autograd.grad(loss.sum(), cells)
            optimizer.step()

            # Record the curves.
            newest = {
                "loss": loss.detach(),
                "score": self.classifier.output.log_odds(logits.detach(), batch.target),
                "probability": p.detach(),
                "area": (1 - cells.detach()).mean((1, 2, 3)),
            }
            with torch.no_grad():
                cells.clamp_(0, 1)
            for name, values in newest.items():
                curves.setdefault(name, []).append(values)
            if self.progress is not None:
                self.progress(batch.ids, step + 1, self.steps, newest)
        return self._explanations(batch, cells.detach(), curves)

    def penalty(self, cells: Tensor) -> Tensor:
        """(b,) penalties of masks (b, 1, g, g) for their size and total variation."""
        size = (1 - cells).abs().sum((1, 2, 3))
        down = cells.diff(dim=2).abs().pow(self.power).sum((1, 2, 3))
        right = cells.diff(dim=3).abs().pow(self.power).sum((1, 2, 3))
        return self.sparsity * size + self.total_variation * (down + right)

    def _perturbed(
        self, batch: SampleBatch, cells: Tensor, shift: Tensor, noise: ImageNoise | None
    ) -> Tensor:
        """(b, 3, h, w) shifted, masked images with gradient for the mask."""
        keep = F.interpolate(cells, batch.size, mode="nearest-exact")
        if self.binary:
            keep = rounded(keep)
        early = self.jitter_what == "image"
        image = shifted(batch.image, shift, self.jitter) if early else batch.image
        mixed = composite(image, keep, self.infiller.infill(image, binarize(keep), noise))
        return mixed if early else shifted(mixed, shift, self.jitter)

    def _explanations(
        self, batch: SampleBatch, cells: Tensor, curves: dict[str, list[Tensor]]
    ) -> list[Explanation]:
        keep = F.interpolate(cells, batch.size, mode="bilinear", align_corners=False).cpu()
        history = {name: torch.stack(values, 1).float().cpu() for name, values in curves.items()}
        return [
            Explanation(
                id=batch.ids[i],
                target=int(batch.target[i]),
                saliency=1 - keep[i],
                keep_prob=keep[i],
                history={name: curve[i] for name, curve in history.items()},
                cost=dict.fromkeys(("forward", "backward", "infill"), self.steps),
                failure=None if bool(keep[i].isfinite().all()) else "the mask is not finite",
            )
            for i in range(len(batch.ids))
        ]


def rounded(keep: Tensor) -> Tensor:
    """(b, 1, h, w) in [0, 1] -> zeros and ones, with the gradient of the input.

    A pixel is kept from `max(1/2, middle of the mask's range)` on.

    Source: Agarwal & Nguyen 2020, their code.
    """
    soft = keep.detach()
    middle = (soft.amax((1, 2, 3), keepdim=True) + soft.amin((1, 2, 3), keepdim=True)) / 2
    hard = (soft >= middle.clamp(min=0.5)).to(soft.dtype)
    return hard + (keep - soft)


def shifted(image: Tensor, shift: Tensor, jitter: int) -> Tensor:
    """Every image moved by its shift, mirrored at the border.

    Args:
        image: (b, 3, h, w).
        shift: (b, 2) rows and columns in 0 .. jitter - 1; jitter // 2 moves nothing.
        jitter: Number of shifts a direction; 0 returns the image.
    """
    if jitter == 0:
        return image
    h, w = image.shape[-2:]
    before, after = jitter // 2, jitter - 1 - jitter // 2
    padded = F.pad(image, (before, after, before, after), mode="reflect")
    return torch.stack(
        [
            padded[i, :, top : top + h, left : left + w]
            for i, (top, left) in enumerate(shift.tolist())
        ]
    )
