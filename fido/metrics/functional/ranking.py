"""Pixels in the order of their saliency, with ties broken by a fixed seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fido.masks.regions import clean
from fido.runtime.noise import image_seed


def pixel_ranks(saliency: Tensor, image_id: str, seed: int = 0) -> Tensor:
    """(h, w) int64: 0 for the most salient pixel, h * w - 1 for the least.

    Equal pixels come in a random order that depends on the seed and the image's id alone, so a
    constant map is a random order and not the order of memory. Non-finite pixels come last; see
    `fido.masks.regions.clean`.

    Args:
        saliency: (1, h, w) raw map.
        image_id: The image's id.
        seed: Of the order of ties.
    """
    values = clean(saliency, -math.inf if bool(saliency.isfinite().any()) else 0.0)
    generator = torch.Generator().manual_seed(image_seed(seed, image_id, "ties"))
    shuffled = torch.randperm(values.numel(), generator=generator)
    order = shuffled[values.flatten()[shuffled].argsort(descending=True, stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return ranks.view_as(values)


def tied_share(saliency: Tensor) -> float:
    """Share of the pixels whose value another pixel has, too: how much of an order is chance."""
    values = clean(saliency)
    _, counts = torch.unique(values, return_counts=True)
    return 1.0 - float((counts == 1).sum()) / values.numel()


def step_counts(pixels: int, step: int) -> list[int]:
    """0, step, 2 step, ..., pixels: how many pixels are changed at each step.

    Raises:
        ValueError: If `step` is below 1.
    """
    if step < 1:
        raise ValueError(f"pixels_per_step must be 1 or more, got {step}")
    return [*range(0, pixels, step), pixels]


def keep_least(ranks: Tensor, counts: list[int]) -> Tensor:
    """(n, 1, h, w) bool: row i drops the counts[i] most salient pixels and keeps the others."""
    return (ranks >= torch.tensor(counts).view(-1, 1, 1)).unsqueeze(1)


def area_under(curve: Tensor, counts: list[int]) -> float:
    """Trapezoidal area under a curve over the share of changed pixels, from 0 to 1.

    Args:
        curve: (n,) values at `counts`.
        counts: n increasing numbers of pixels.
    """
    share = torch.tensor(counts, dtype=torch.float64) / counts[-1]
    return float(torch.trapezoid(curve.double(), share))
