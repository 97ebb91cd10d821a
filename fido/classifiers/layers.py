"""Layers of any network as feature maps: convolutions, tokens of transformers, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.features import is_grid, last_feature_map

PREFIXES = range(9)
"""Tokens before those of the patches: a class token, one of distillation, registers."""


@dataclass(frozen=True)
class Layout:
    """How an output is laid out.

    Attributes:
        kind: "maps" (n, c, h, w), "channels_last" (n, h, w, c) or "tokens" (n, tokens, c).
        grid: (h, w).
        prefix: Tokens before those of the patches.
    """

    kind: Literal["maps", "channels_last", "tokens"]
    grid: tuple[int, int]
    prefix: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """(n, c, h, w) of an output; tokens that are no patches are dropped."""
        if self.kind == "maps":
            return output
        if self.kind == "channels_last":
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.prefix :].transpose(1, 2)
        return patches.reshape(len(output), -1, *self.grid)


@dataclass(frozen=True)
class FeatureLayer:
    """A module of a network, and the layout of its output."""

    module: nn.Module
    layout: Layout


def layout_of(output: object, size: tuple[int, int]) -> Layout | None:
    """The layout of a module's output, if it can be feature maps of an image.

    Feature maps have the image's aspect ratio, up to two pixels of padding, and are larger than
    1 x 1.

    Args:
        output: Whatever a module returns.
        size: (h, w) of the image.
    """
    if not isinstance(output, Tensor):
        return None
    layouts: list[Layout] = []
    if output.ndim == 4:
        _, second, third, fourth = output.shape
        layouts = [Layout("maps", (third, fourth)), Layout("channels_last", (second, third))]
    if output.ndim == 3:
        for prefix in PREFIXES:
            patches = max(output.shape[1] - prefix, 0)
            rows = max(round((patches * size[0] / size[1]) ** 0.5), 1)
            if patches % rows == 0:
                layouts.append(Layout("tokens", (rows, patches // rows), prefix))
    possible = [one for one in layouts if is_grid(*one.grid, size)]
    # The aspect ratio decides between several; of equals the first, with the fewest other tokens.
    return min(
        possible,
        key=lambda one: abs(one.grid[0] / size[0] - one.grid[1] / size[1]),
        default=None,
    )


def feature_layer(
    classifier: Classifier,
    image: Tensor,
    layer: str | int | None = None,
    setting: str = "explainer.layer",
) -> FeatureLayer:
    """Find a layer of feature maps.

    Args:
        classifier: The classifier.
        image: (1, 3, h, w) in [0, 1].
        layer: Dotted name of a module of `classifier.network`; or an index into its layers of
            feature maps, in the order of their use, -1 is the last; None takes the last feature
            maps of a convolutional network, or the last tokens that the logits follow from: behind
            the last attention of a transformer with a class token nothing is read off the patches.
        setting: What errors call `layer`.

    Raises:
        ValueError: If there is no such layer, or it gives no feature maps.
    """
    if layer is None:
        try:
            module = last_feature_map(classifier, image)
        except ValueError:
            return _last_tokens(classifier, image)
        return next(
            one for one, _ in reversed(_passed(classifier, image)[1]) if one.module is module
        )
    if isinstance(layer, int):
        found = [one for one, _ in _passed(classifier, image)[1]]
        if not -len(found) <= layer < len(found):
            raise ValueError(
                f"{setting}={layer}: {type(classifier.network).__name__} has {len(found)} "
                "layers of feature maps"
            )
        return found[layer]
    module = classifier.network.get_submodule(layer)
    found = [one for one, _ in _passed(classifier, image)[1] if one.module is module]
    if not found:
        raise ValueError(
            f"{setting}={layer} gives no feature maps of a {image.shape[-2]} x "
            f"{image.shape[-1]} image; expected (n, c, h, w), (n, h, w, c) or (n, tokens, c)"
        )
    return found[-1]


def _passed(
    classifier: Classifier, image: Tensor
) -> tuple[Tensor, list[tuple[FeatureLayer, Tensor]]]:
    """Logits of an image, and the layers of feature maps with their outputs, in order of use."""
    size = (image.shape[-2], image.shape[-1])
    found: list[tuple[FeatureLayer, Tensor]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        layout = layout_of(output, size)
        if layout is not None:
            found.append((FeatureLayer(module, layout), output))

    handles = [
        module.register_forward_hook(note)
        for module in classifier.network.modules()
        if module is not classifier.network
    ]
    try:
        return classifier(image), found
    finally:
        for handle in handles:
            handle.remove()


def _last_tokens(classifier: Classifier, image: Tensor) -> FeatureLayer:
    """The last layer whose patches the largest logit follows from."""
    with torch.enable_grad():
        logits, found = _passed(classifier, image.clone().requires_grad_())
        found = [(layer, output) for layer, output in found if output.requires_grad]
        outputs = [output for _, output in found]
        gradients = (
            torch.autograd.grad(logits.amax(), outputs, allow_unused=True)
            if found and logits.requires_grad
            else [None] * len(found)
        )
    for (layer, output), gradient in reversed(list(zip(found, gradients, strict=True))):
        same = output.shape[-1] == outputs[-1].shape[-1]  # and not queries, keys, values in one
        if gradient is not None and same and bool((layer.layout.maps(gradient) != 0).any()):
            return layer
    raise ValueError(
        f"Grad-CAM needs feature maps or tokens of patches, and no module of "
        f"{type(classifier.network).__name__} gives any that the logits follow from. Name one with "
        "explainer.layer=, or take a method that asks for no layer, such as "
        "explainer=integrated_gradients"
    )


class DeepFeatures:
    """Feature maps of layers of a classifier's network.

    Tokens of transformers become maps, without those that are no patches; channels-last outputs,
    as of Swin transformers, are laid out as maps.

    Args:
        classifier: Its own normalisation is applied; images keep their size.
        layers: Names of modules, as in `named_modules`, or indices into the network's layers of
            feature maps; see `feature_layer`.

    Raises:
        ValueError: If there are no layers, or the network has no module of a name.
    """

    def __init__(self, classifier: Classifier, layers: Sequence[str | int]) -> None:
        modules = dict(classifier.network.named_modules())
        missing = [name for name in layers if isinstance(name, str) and name not in modules]
        if missing or not layers:
            known = ", ".join(name for name in modules if name and name.count(".") < 2)
            raise ValueError(f"no layer {', '.join(missing) or 'given'}; the network has: {known}")
        self.classifier = classifier
        self.layers = tuple(layers)
        self._modules: list[nn.Module] | None = None

    @torch.no_grad()
    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return one (n, channels, h', w') float32 tensor per layer for (n, 3, h, w) images.

        Raises:
            ValueError: If a layer's output is none of maps, channels last or tokens of patches.
        """
        if self._modules is None:
            self._modules = [self._module(layer, image[:1]) for layer in self.layers]
        outputs: dict[nn.Module, Any] = {}

        def note(module: nn.Module, _: Any, output: Any) -> None:
            outputs[module] = output

        handles = [module.register_forward_hook(note) for module in set(self._modules)]
        try:
            self.classifier(image)
        finally:
            for handle in handles:
                handle.remove()
        size = (image.shape[-2], image.shape[-1])
        return [
            _maps(layer, outputs.get(module), size).float()
            for layer, module in zip(self.layers, self._modules, strict=True)
        ]

    def _module(self, layer: str | int, image: Tensor) -> nn.Module:
        if isinstance(layer, str):
            return self.classifier.network.get_submodule(layer)
        return feature_layer(self.classifier, image, layer, "layer").module


def _maps(layer: str | int, output: object, size: tuple[int, int]) -> Tensor:
    """(n, c, h, w) of a layer's output; convolutions may give places of any number."""
    layout = layout_of(output, size)
    if isinstance(output, Tensor) and layout is not None:
        return layout.maps(output)
    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    raise ValueError(
        f"layer {layer} does not give feature maps (n, channels, h, w), (n, h, w, channels) or "
        "(n, tokens, channels) of an image"
    )
