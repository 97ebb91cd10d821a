"""Feature maps of a classifier: those of named layers, and the last ones of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier


class DeepFeatures:
    """Feature maps of named layers of a classifier's network.

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
        """Return one (n, channels, h', w') float32 tensor per layer for (n, 3, h, w) images.

        Raises:
            ValueError: If a layer's output is not of that shape.
        """
        outputs: list[Tensor] = []

        def note(module: Any, given: Any, output: Any) -> None:
            outputs.append(output)

        handles = [module.register_forward_hook(note) for module in self._modules]
        try:
            self.classifier(image)
        finally:
            for handle in handles:
                handle.remove()
        for name, output in zip(self.layers, outputs, strict=True):
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise ValueError(f"layer {name} does not give feature maps (n, channels, h, w)")
        return [output.float() for output in outputs]


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
