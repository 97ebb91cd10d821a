"""Perceptual distance in the first stages of a frozen network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.folding import fold_batch_norms


class PerceptualDistance(nn.Module):
    """Distance between images in the first stages of a frozen EfficientNet.

    Mean over taps of mean |n(phi(a)) - n(phi(b))|, n dividing every channel by its root mean
    square over the batch of references.

    Args:
        classifier: A timm EfficientNet. It must not be the classifier that the infiller will help
            to explain: infills would be biased towards its evidence.
        stages: Number of stages of blocks to compare; three end at stride 8: texture, not objects.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, stages: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", classifier.get_buffer("mean"))
        self.register_buffer("std", classifier.get_buffer("std"))
        network: Any = fold_batch_norms(classifier).network
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.stages = nn.ModuleList(network.blocks[:stages])
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stay in evaluation mode: the statistics of its normalisation are frozen."""
        return super().train(False)

    def taps(self, image: Tensor) -> list[Tensor]:
        """Features after every stage, of (n, 3, h, w) RGB in [0, 1]."""
        x = self.stem((image - self.mean) / self.std)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Scalar distance; gradients reach `image` only."""
        with torch.no_grad():
            references = self.taps(reference)
        distances = [
            ((a - b).abs() / b.square().mean((0, 2, 3), keepdim=True).sqrt().clamp_min(1e-3)).mean()
            for a, b in zip(self.taps(image), references, strict=True)
        ]
        return torch.stack(distances).mean()
