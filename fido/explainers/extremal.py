"""Extremal perturbations: the smooth region of a given area with the highest class score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Progress, SampleBatch, collate
from fido.infillers.base import Infiller
from fido.infillers.blur_pyramid import BlurPyramid
from fido.masks.concrete import binarize, composite
from fido.masks.smooth import SmoothMask
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_above, check_at_least, check_choice
from fido.runtime.noise import ImageNoise


class ExtremalPerturbation:
    """Maximise the logit of the class over smooth masks of a given area.

    `max_m reward(m) - weight mean((sort(m) - r)^2)` with r = 1 for the top share `area` of the
    mask's pixels and 0 for the others; the weight grows in every step. The map is the mask, for
    several areas the mean of theirs; threshold 0.5.

    Args:
        classifier: The classifier to explain.
        infiller: Fills dropped pixels, with `perturbation="infiller"`.
        perturbation: "blur_pyramid" blurs what is dropped (the paper's), "infiller" infills it.
        areas: Shares of the mask's pixels, margin included, in (0, 1); one mask for each.
        variant: "preserve" keeps the region, "delete" removes it and wants the class gone, "dual"
            does both.
        reward: "logit" of the class, or "contrast", its distance from the best other logit.
        steps: Optimisation steps.
        learning_rate: Learning rate of gradient descent with momentum and dampening 0.9.
        weight: Weight of the area constraint in the first step, in logits.
        growth: Factor of the weight in each step.
        flip: Whether the perturbed images are mirrored in every second step.
        cell_size: Side of a mask cell in pixels.
        sigma: Radius of a mask cell in pixels.
        margin: Pixels around the image that belong to the mask; with 0 areas are the image's own.
        max_sigma: Largest standard deviation of the blur pyramid, in pixels.
        seed: Seed of the infiller's random numbers. Nothing else is random.
        progress: Called after every step; see `Progress`.
        rows_per_pass: Rows (images times areas, twice for "dual") side by side, an image's always
            together; see `Batches`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Fong, Patrick & Vedaldi 2019, section 3.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller,
        perturbation: Literal["blur_pyramid", "infiller"] = "blur_pyramid",
        areas: Sequence[float] = (0.1,),
        variant: Literal["preserve", "delete", "dual"] = "preserve",
        reward: Literal["logit", "contrast"] = "logit",
        steps: int = 800,
        learning_rate: float = 0.01,
        weight: float = 300.0,
        growth: float = 1.0035,
        flip: bool = True,
        cell_size: int = 7,
        sigma: float = 21.0,
        margin: int = 18,
        max_sigma: float = 20.0,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        if not areas or not all(0 < area < 1 for area in areas):
            raise ValueError(f"explainer.areas must be shares between 0 and 1, got {list(areas)}")
        check_choice(("blur_pyramid", "infiller"), "explainer", perturbation=perturbation)
        check_choice(("preserve", "delete", "dual"), "explainer", variant=variant)
        check_choice(("logit", "contrast"), "explainer", reward=reward)
        check_at_least(1, "explainer", steps=steps)
        check_above(0, "explainer", learning_rate=learning_rate, growth=growth)
        self.classifier = classifier
        self.infiller = infiller
        self.perturbation = perturbation
        self.areas = list(areas)
        self.variant = variant
        self.reward = reward
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight = weight
        self.growth = growth
        self.flip = flip
        self.cell_size = cell_size
        self.sigma = sigma
        self.margin = margin
        self.max_sigma = max_sigma
        self.seed = seed
        self.progress = progress
        self.views = len(self.areas) * (2 if variant == "dual" else 1)
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images and areas side by side, each as if it were alone."""
        parts = self.batches(
            len(samples), lambda start, stop: self._explain(samples[start:stop]), self.views
        )
        return [explanation for part in parts for explanation in part]

    @torch.enable_grad()
    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        b, device = len(samples), batch.image.device
        mask = SmoothMask(batch.size, self.cell_size, self.sigma, self.margin)
        perturb = self._perturbation(batch)
        cells = torch.ones(b * len(self.areas), 1, *mask.grid, device=device, requires_grad=True)
        optimizer = torch.optim.SGD([cells], self.learning_rate, momentum=0.9, dampening=0.9)
        curves: dict[str, list[Tensor]] = {}
        for step in range(self.steps):
            # Upsample the cells to a smooth mask and perturb the image with it.
            full = mask.with_margin(cells)
            region = mask.crop(full)
            rows = perturb(self._kept(region, b))
            if self.flip and step % 2 == 0:
                rows = rows.flip(3)

            # Evaluate the classifier on the perturbed images.
            logits = self.classifier(rows)
            target = batch.target.repeat_interleave(self.views)

            # Penalise masks of another area, more in every step.
            penalty = self.weight * self.growth**step * self._off_area(full)
            loss = penalty.view(b, -1).sum(1) - self._reward(logits, target).view(b, -1).sum(1)

            # Gradient step.
            (cells.grad,) = torch.autograd.grad(loss.sum(), cells)
            optimizer.step()
            with torch.no_grad():
                cells.clamp_(0, 1)

            # Record the curves.
            newest = {
                "loss": loss.detach(),
                "score": self.classifier.output.log_odds(logits.detach(), target).view(b, -1)[:, 0],
                "area": region.detach().reshape(b, -1).mean(1),
            }
            for name, values in newest.items():
                curves.setdefault(name, []).append(values)
            if self.progress is not None:
                self.progress(batch.ids, step + 1, self.steps, newest)
        with torch.no_grad():
            regions = mask.crop(mask.with_margin(cells))
            maps = regions.reshape(b, -1, *regions.shape[1:]).mean(1)
        return self._explanations(batch, maps.cpu(), curves)

    def _perturbation(self, batch: SampleBatch) -> Callable[[Tensor], Tensor]:
        """Return a function from masks (b * s, 1, h, w) to perturbed images (b * s, 3, h, w)."""
        image, device = batch.image, batch.image.device
        if self.perturbation == "blur_pyramid":
            return BlurPyramid(image, self.classifier.mean, self.max_sigma).mix
        noise = (
            ImageNoise(self.seed, batch.ids, "infill", device)
            if self.infiller.needs_noise
            else None
        )
        return lambda keep: composite(
            image, keep, self.infiller.infill(image, binarize(keep), noise)
        )

    def _kept(self, region: Tensor, images: int) -> Tensor:
        """(b * areas, 1, h, w) regions -> (b * views, 1, h, w) what each perturbed image keeps."""
        if self.variant == "preserve":
            return region
        if self.variant == "delete":
            return 1 - region
        kept = region.reshape(images, -1, *region.shape[1:])
        return torch.cat([kept, 1 - kept], 1).flatten(0, 1)

    def _reward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return what is maximised, (b * views,), of logits (b * views, classes)."""
        column = target.unsqueeze(1)
        reward = logits.gather(1, column).squeeze(1)
        if self.reward == "contrast":
            reward = reward - logits.scatter(1, column, float("-inf")).amax(1)
        if self.variant == "preserve":
            return reward
        if self.variant == "delete":
            return -reward
        kept = torch.arange(len(reward), device=reward.device) % self.views < len(self.areas)
        return torch.where(kept, reward, -reward)

    def _off_area(self, full: Tensor) -> Tensor:
        """Mean square distance of masks (b * areas, 1, H, W) from binary masks of their areas."""
        values = full.flatten(1).sort(1).values
        pixels = values.shape[1]
        ideal = values.new_zeros(len(self.areas), pixels)
        for row, area in enumerate(self.areas):
            ideal[row, pixels - round(area * pixels) :] = 1
        return (values - ideal.repeat(len(values) // len(self.areas), 1)).square().mean(1)

    def _explanations(
        self, batch: SampleBatch, maps: Tensor, curves: dict[str, list[Tensor]]
    ) -> list[Explanation]:
        history = {name: torch.stack(values, 1).float().cpu() for name, values in curves.items()}
        rows = self.steps * self.views
        infills = rows if self.perturbation == "infiller" else 0
        return [
            Explanation(
                id=batch.ids[i],
                target=int(batch.target[i]),
                saliency=maps[i],
                history={name: curve[i] for name, curve in history.items()},
                cost={"forward": rows, "backward": rows, "infill": infills},
                failure=None if bool(maps[i].isfinite().all()) else "the mask is not finite",
            )
            for i in range(len(batch.ids))
        ]
