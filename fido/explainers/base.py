"""What explanation methods share: their promise, batches of samples, progress, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.records import Explanation, Sample

Progress = Callable[[Sequence[str], int, int, dict[str, Tensor]], None]
"""Called while a method works with the ids of the batch, the number of steps done, the number of
steps in all, and the newest values, a (b,) tensor each."""


class Explainer(Protocol):
    """A method that gives every pixel its evidence for a class.

    A map belongs to (sample, target, settings, seed) alone: it does not depend on the other
    samples of the batch, on their order, or on how many there are. A method that follows the
    classifier's gradient to the pixels says so by an attribute `needs_gradient = True`.
    """

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """Return one explanation per sample, in order.

        Args:
            samples: All of one image size, each with its `target` set.
        """
        ...


def needs_gradient(explainer: Explainer) -> bool:
    """Whether a method follows the classifier's gradient to the pixels."""
    return bool(getattr(explainer, "needs_gradient", False))


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """The tensors of b samples.

    Attributes:
        ids: The b ids.
        image: (b, 3, h, w) in [0, 1].
        target: (b,) class indices.
    """

    ids: list[str]
    image: Tensor
    target: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        return self.image.shape[-2], self.image.shape[-1]


def collate(samples: Sequence[Sample], classifier: Classifier) -> SampleBatch:
    """Put samples of one image size side by side, on the device of the classifier.

    Raises:
        ValueError: If a sample has no target, one that is no class, or another size than the first.
    """
    device, classes = classifier.device, len(classifier.class_names)
    for sample in samples:
        if sample.image.shape != samples[0].image.shape:
            raise ValueError(
                f"samples of one batch must be of one size; {sample.id!r} is "
                f"{tuple(sample.image.shape)}, the first is {tuple(samples[0].image.shape)}"
            )
        if target_of(sample) >= classes:
            raise ValueError(
                f"sample {sample.id!r}: target {sample.target} is not a class index of this "
                f"classifier; expected 0 to {classes - 1}"
            )
    return SampleBatch(
        ids=[sample.id for sample in samples],
        image=torch.stack([sample.image for sample in samples]).to(device),
        target=torch.tensor([target_of(sample) for sample in samples], device=device),
    )


def target_of(sample: Sample) -> int:
    """Return the class index to explain.

    Raises:
        ValueError: If it is not set.
    """
    if sample.target is None:
        raise ValueError(f"sample {sample.id!r} has no target; see fido.runs.target.resolve_target")
    return sample.target


def half_of_maximum(saliency: Tensor) -> float:
    """Half of the largest finite value: the threshold of maps without a fixed scale.

    A map without positive values gets its maximum, so that it has no region.
    """
    finite = saliency[saliency.isfinite()]
    highest = float(finite.max()) if finite.numel() else 0.0
    return highest / 2 if highest > 0 else highest
