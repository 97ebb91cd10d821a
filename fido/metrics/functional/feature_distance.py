"""Distances between images, and between sets of images, in the features of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fido.classifiers.base import Classifier


class DeepFeatures:
    """What named layers of a classifier's network give for images.

    Args:
        classifier: Its own normalisation is applied; images keep their size.
        layers: Names of modules whose output is (n, channels, h', w'), as in `named_modules`.

    Raises:
        ValueError: If there are no layers, or the network has no module of a name.
    """

    def __init__(self, classifier: Classifier, layers: Sequence[str]) -> None:
        modules = dict(classifier.network.named_modules())
        missing = [name for name in layers if name not in modules]
        if missing or not layers:
            known = ", ".join(name for name in modules if name and name.count(".") < 2)
            raise ValueError(f"no layer {', '.join(missing) or 'given'}; the network has: {known}")
        self.classifier = classifier
        self.layers = tuple(layers)
        self._modules = [modules[name] for name in layers]

    @torch.no_grad()
    def __call__(self, image: Tensor) -> list[Tensor]:
        """(n, 3, h, w) in [0, 1] -> one (n, channels, h', w') float32 tensor a layer.

        Raises:
            ValueError: If a layer's output is not of that shape.
        """
        found: list[Tensor] = []

        def note(module: Any, given: Any, output: Any) -> None:
            found.append(output)

        handles = [module.register_forward_hook(note) for module in self._modules]
        try:
            self.classifier(image)
        finally:
            for handle in handles:
                handle.remove()
        for name, output in zip(self.layers, found, strict=True):
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise ValueError(f"layer {name} does not give feature maps (n, channels, h, w)")
        return [output.float() for output in found]


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """(n,) distance in [0, 2]: 1 - cosine of the channel vectors, mean over places, then layers.

    Computed as half the squared distance of the vectors scaled to length 1, so that equal
    features are at distance 0 also where they vanish.

    Args:
        a: A tensor (n, channels, h, w) a layer, or one row for all.
        b: The same layers, (n, channels, h, w).

    Source: Zhang et al. 2018 (LPIPS), without its learned weights of channels.
    """
    each = []
    for one, other in zip(a, b, strict=True):
        unit = functional.normalize(one.double(), dim=1)
        difference = unit - functional.normalize(other.double(), dim=1)
        each.append(difference.square().sum(1).mean((1, 2)) / 2)
    return torch.stack(each).mean(0)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the normal distributions fitted to two sets of feature vectors.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`, covariances with n - 1. It is biased
    upwards, the more the smaller the sets are: compare values of equally many vectors only.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.

    Raises:
        ValueError: If a set has fewer than two vectors.

    Source: Heusel et al. 2017 (FID), there of 2048 Inception features.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"two vectors a set are needed, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(b.shape[1], -1)
    # (C_a C_b)^(1/2) has the trace of (S C_b S)^(1/2), S = C_a^(1/2), which is symmetric.
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    squared = (a.mean(0) - b.mean(0)).square().sum()
    return float((squared + cov_a.trace() + cov_b.trace() - 2 * shared).clamp(min=0))
