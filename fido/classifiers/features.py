"""The last feature maps of a classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier


@torch.no_grad()
def last_feature_map(classifier: Classifier, image: Tensor) -> nn.Module:
    """Return the last module of the network whose output is (n, channels, h, w) feature maps.

    Feature maps are larger than 1 x 1 and have the aspect ratio of the image, which attention
    weights and channels-last maps have not. Maps before a sequence of tokens, (n, tokens,
    channels), do not count: the patch embedding of a vision transformer is no layer for Grad-CAM.
    One forward pass finds the module; all hooks are removed again.

    Args:
        classifier: The classifier.
        image: (1, 3, h, w) in [0, 1].

    Raises:
        ValueError: If the network has no such module.
    """
    size = (image.shape[-2], image.shape[-1])
    modules: list[nn.Module] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 3:
            modules.clear()
        elif output.ndim == 4 and is_grid(output.shape[2], output.shape[3], size):
            modules.append(module)

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
    if not modules:
        raise ValueError(
            f"no module of {type(classifier.network).__name__} gives feature maps (n, channels, h, "
            "w) that the logits follow from"
        )
    return modules[-1]


def is_grid(h: int, w: int, size: tuple[int, int]) -> bool:
    """Whether h x w places, more than one, may be those of an image of a size.

    Their aspect ratio is the image's, up to the pixel or two by which borders that convolutions pad
    or cut shift a side.
    """
    if h * w <= 1 or h > size[0] or w > size[1]:
        return False
    return abs(h / size[0] - w / size[1]) <= 2 / min(size)
