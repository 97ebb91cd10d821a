"""Feature vectors of images, for distances between sets and neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fido.classifiers.base import Classifier
from fido.classifiers.layers import DeepFeatures


def resized(image: Tensor, classifier: Classifier) -> Tensor:
    """(n, 3, h, w) images at the size that a classifier takes, bilinear with antialiasing."""
    image = image.to(classifier.device)
    if tuple(image.shape[-2:]) == tuple(classifier.size):
        return image
    return functional.interpolate(
        image, classifier.size, mode="bilinear", antialias=True, align_corners=False
    )


class PooledFeatures:
    """Mean over places of a layer's feature maps.

    Args:
        classifier: Whose features; images are resized for it.
        layer: Name or index of the layer, see `DeepFeatures`; None takes the logits.
    """

    def __init__(self, classifier: Classifier, layer: str | int | None) -> None:
        self.classifier = classifier
        self.deep_features = None if layer is None else DeepFeatures(classifier, [layer])

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """(n, d) float32 on the CPU, of (n, 3, h, w) in [0, 1]."""
        image = resized(image, self.classifier)
        if self.deep_features is None:
            logits: Tensor = self.classifier(image)
            return logits.float().cpu()
        return self.deep_features(image)[0].mean((2, 3)).float().cpu()
