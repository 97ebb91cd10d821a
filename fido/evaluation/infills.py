"""What infillers make of some images under one mask distribution, and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.distributions.base import MaskDistribution, sample_masks
from fido.records import Sample
from fido.runtime.noise import ImageNoise


@dataclass(frozen=True, eq=False)
class Infills:
    """One image under one mask.

    Attributes:
        id: The image's.
        label: Name of its class, or "" without a label.
        image: (3, h, w) as it was.
        keep: (1, h, w) bool, True keeps.
        filled: Infiller to the composed image (3, h, w).
        probability: "" for the image as it was, or an infiller, to p(label); empty without a label.
    """

    id: str
    label: str
    image: Tensor
    keep: Tensor
    filled: Mapping[str, Tensor]
    probability: Mapping[str, float]


@torch.no_grad()
def fill_images(
    samples: Sequence[Sample],
    distribution: tuple[str, MaskDistribution],
    infillers: Mapping[str, Infiller],
    classifier: Classifier,
    seed: int = 0,
) -> list[Infills]:
    """The same masks and fills that the metrics of infillers measure with this seed.

    Args:
        samples: The images; those for which the distribution has no mask are left out.
        distribution: Name and mask distribution.
        infillers: Name to infiller.
        classifier: Gives the probabilities.
        seed: Of masks and infillers.
    """
    rows = []
    for sample in samples:
        for keep in sample_masks(dict([distribution]), sample, seed=seed).values():
            edits = {
                name: EditedImage(classifier, infiller, sample, "holes", seed).images(keep)
                for name, infiller in infillers.items()
            }
            probability = {}
            if sample.label is not None:
                shown = {"": sample.image.unsqueeze(0).to(classifier.device), **edits}
                probability = {
                    name: float(classifier.probabilities(one)[0, sample.label])
                    for name, one in shown.items()
                }
            rows.append(
                Infills(
                    sample.id,
                    "" if sample.label is None else classifier.class_names[sample.label],
                    sample.image,
                    keep[0],
                    {name: one[0].cpu() for name, one in edits.items()},
                    probability,
                )
            )
    return rows


@torch.no_grad()
def seconds_per_fill(
    infiller: Infiller, image: Tensor, keep: Tensor, repeats: int = 3, seed: int = 0
) -> float:
    """Median wall time of one fill when all masks of an image are filled at once.

    Args:
        infiller: What is timed.
        image: (1, 3, h, w) in [0, 1], on the infiller's device.
        keep: (s, 1, h, w) of zeros and ones.
        repeats: Timed calls, after one that is not.
        seed: Of the infiller's random numbers.
    """

    def fill() -> None:
        noise = ImageNoise(seed, ["timed"], "infill", image.device)
        infiller.infill(image, keep, noise if infiller.needs_noise else None)

    return _median_seconds(fill, repeats, image.device) / len(keep)


def seconds_per_gradient(classifier: Classifier, rows: Tensor, repeats: int = 3) -> float:
    """Median wall time of the classifier, forward and backward, for each of rows (n, 3, h, w)."""
    target = torch.zeros(len(rows), dtype=torch.long, device=rows.device)

    def step() -> None:
        image = rows.detach().requires_grad_(True)
        torch.autograd.grad(classifier.log_odds(image, target).sum(), image)

    return _median_seconds(step, repeats, rows.device) / len(rows)


def _median_seconds(work: Callable[[], None], repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
