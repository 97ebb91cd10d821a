"""A small network that is trained when it is made, on images that are there on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.records import Sample


class LabelledImages(Protocol):
    """A source of images, all of one size and labelled; see `fido.data.base.PhotoSource`."""

    def selected(self) -> list[Any]:
        """What there is."""
        ...

    def load(self, entry: Any) -> Sample:
        """One image."""
        ...


class GreyPerceptron(nn.Module):
    """One hidden layer on the mean of the colours.

    Args:
        pixels: Of an image.
        hidden: Units of the hidden layer.
        classes: Outputs.
    """

    def __init__(self, pixels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, classes) logits."""
        logits: Tensor = self.layers(image.mean(1).flatten(1))
        return logits


def trained_perceptron(
    source: LabelledImages,
    class_names: Sequence[str],
    hidden: int = 128,
    steps: int = 300,
    learning_rate: float = 0.01,
    seed: int = 0,
) -> Classifier:
    """A perceptron trained on all images of a source, in about a second for a thousand small ones.

    The training takes all images in every step and starts from weights of the seed: the same
    arguments give the same network.

    Args:
        source: Images of one size with labels from 0.
        class_names: Name of every class.
        hidden: Units of the hidden layer.
        steps: Of Adam.
        learning_rate: Of Adam, falling linearly to 0.
        seed: Of the first weights.

    Raises:
        ValueError: If an image has no label, or one that has no name.
    """
    samples = [source.load(entry) for entry in source.selected()]
    labels = [sample.label for sample in samples]
    wrong = [label for label in labels if label is None or not 0 <= label < len(class_names)]
    if wrong:
        raise ValueError(f"labels must be 0 to {len(class_names) - 1}, found {wrong[0]}")
    images, known = torch.stack([sample.image for sample in samples]), torch.tensor(labels)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = GreyPerceptron(images[0, 0].numel(), hidden, len(class_names))
        optimizer = torch.optim.Adam(network.parameters(), learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / steps, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), known)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return Classifier(
        network,
        size=(images.shape[-2], images.shape[-1]),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        class_names=class_names,
        crop_fraction=1.0,
    )
