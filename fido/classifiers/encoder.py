"""A frozen classifier as the encoder of another network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier


@dataclass(frozen=True, eq=False)
class Encoded:
    """Features and logits of n images.

    Attributes:
        features: Fine to coarse, (n, channels, h / stride, w / stride) each.
        deep: (n, channels, h / 32, w / 32), the input of the classification layer.
        logits: (n, classes).
    """

    features: list[Tensor]
    deep: Tensor
    logits: Tensor


class FeatureEncoder(nn.Module):
    """Features of a timm EfficientNet at every stride below 32, and its class activation maps.

    Args:
        classifier: The classifier; gets no gradient here.
        skips: Number of features to return, the coarsest first: 3 are those at strides 4, 8, 16.

    Raises:
        ValueError: If the network is of another kind.
    """

    def __init__(self, classifier: Classifier, skips: int = 3) -> None:
        super().__init__()
        network: Any = classifier.network
        if not hasattr(network, "forward_intermediates") or not isinstance(
            getattr(network, "classifier", None), nn.Linear
        ):
            raise ValueError(
                "the encoder must be an EfficientNet of timm, got "
                f"{type(network).__name__}; take fido.classifiers.efficientnet_lite"
            )
        self.classifier = classifier
        self.skips = skips

    @torch.no_grad()
    def forward(self, image: Tensor) -> Encoded:
        """Encode (n, 3, h, w) images in [0, 1]."""
        network: Any = self.classifier.network
        x = (image - self.classifier.mean) / self.classifier.std
        x = x.contiguous(memory_format=self.classifier.memory_format)
        deep, stages = network.forward_intermediates(x)
        features = [stage for stage in stages if stage.shape[-1] > deep.shape[-1]]
        return Encoded(features[-self.skips :], deep, network.forward_head(deep))

    @torch.no_grad()
    def activation(self, deep: Tensor, target: Tensor) -> Tensor:
        """Return the class activation map (n, 1, h, w); its mean over pixels is the logit.

        Args:
            deep: (n, channels, h, w), see `Encoded`.
            target: (n,) class indices.

        Source: Zhou et al. 2016, eq. 2 (class activation map).
        """
        last: Any = self.classifier.network.classifier
        weight, bias = last.weight[target], last.bias[target]
        weighted = torch.einsum("nchw,nc->nhw", deep, weight).unsqueeze(1)
        activation: Tensor = weighted + bias.view(-1, 1, 1, 1)
        return activation
