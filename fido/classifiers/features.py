"""Where a convolutional network still knows places: its last feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier


@torch.no_grad()
def last_feature_map(classifier: Classifier, image: Tensor) -> nn.Module:
    """The module of the network that is the last to give (n, channels, h, w) feature maps.

    Feature maps are larger than 1 x 1 and shrunk alike in both directions from the image, which
    attention weights and channels-last maps are not. A network that goes on with a sequence of
    tokens, (n, tokens, channels), has left its feature maps: where a vision transformer cuts the
    image into patches is no layer for Grad-CAM. Finds it in one forward pass; all hooks are
    removed again.

    Args:
        classifier: The network in its wrapper.
        image: (1, 3, h, w) in [0, 1].

    Raises:
        ValueError: If the network has no such module.
    """
    size = (image.shape[-2], image.shape[-1])
    found: list[nn.Module] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 3:
            found.clear()
        elif output.ndim == 4 and _is_feature_map(output, size):
            found.append(module)

    handles = [
        module.register_forward_hook(note)
        for module in classifier.network.modules()
        if module is not classifier.network
    ]
    try:
        classifier(image)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            f"Grad-CAM needs a convolutional network: no module of "
            f"{type(classifier.network).__name__} gives feature maps (n, channels, h, w) that the "
            "logits follow from. Name one with explainer.layer=, or take a method that asks for no "
            "layer, such as explainer=integrated_gradients"
        )
    return found[-1]


def _is_feature_map(output: Tensor, size: tuple[int, int]) -> bool:
    h, w = output.shape[-2:]
    if h * w == 1 or h > size[0] or w > size[1]:
        return False
    # Borders that convolutions pad or cut shift a side by a pixel or two of its own.
    return abs(h / size[0] - w / size[1]) <= 2 / min(size)
