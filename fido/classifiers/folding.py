"""Fold the batch normalisations of a frozen classifier into the convolutions before them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fido.classifiers.base import Classifier

TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of the largest logit, that folding may make."""


@torch.no_grad()
def fold_batch_norms(classifier: Classifier) -> Classifier:
    """Fold what can be folded, in place, and return the classifier.

    A normalisation with fixed statistics is a scale and a shift for every channel, which the
    weights of the convolution before it can contain. Logits stay the same up to rounding, and
    passes get faster, as normalisations are bound by memory. Modules keep their names and
    outputs; a folded normalisation is left with its activation, if any.

    Which normalisation follows which convolution is seen from a forward pass. Folding is undone
    as a whole if the logits of a random image do not agree afterwards, as happens where the
    output of a convolution is also used elsewhere. They are compared in float32 whatever the
    classifier's precision: bfloat16 rounds more than the tolerance.

    Args:
        classifier: Frozen, on any device. Networks without batch normalisation stay as they are.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, *classifier.size, generator=generator).to(classifier.device)
    precision, classifier.precision = classifier.precision, "float32"
    try:
        _fold(classifier, image)
    finally:
        classifier.precision = precision
    return classifier


def _fold(classifier: Classifier, image: Tensor) -> None:
    pairs = _pairs(classifier, image)
    if not pairs:  # nor is there need of a copy, which some networks do not allow
        return
    original = classifier.network
    before = classifier(image)
    names = {module: name for name, module in original.named_modules()}
    network = copy.deepcopy(original)
    classifier.network = network
    for convolution, norm in pairs:
        _replace(network, names[convolution], fuse_conv_bn_eval(convolution, norm))
        _replace(network, names[norm], _activation(norm))
    network.requires_grad_(False).to(memory_format=classifier.memory_format)
    classifier.eval()
    if not torch.allclose(classifier(image), before, 0, TOLERANCE * float(before.abs().max())):
        classifier.network = original


def _pairs(classifier: Classifier, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return normalisations with the convolution whose output they take; each used once."""
    outputs: dict[int, tuple[Tensor, nn.Module]] = {}
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            # The tensor is kept, or another one could get its id.
            outputs[id(output)] = (output, module)
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d) and id(given[0]) in outputs:
            pairs.append((outputs[id(given[0])][1], module))  # type: ignore[arg-type]

    hooks = [module.register_forward_hook(note) for module in classifier.network.modules()]
    try:
        classifier(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if calls[convolution] == calls[norm] == 1 and norm.running_mean is not None
    ]


def _activation(norm: nn.BatchNorm2d) -> nn.Module:
    """Return the rest of a normalisation without its scale and shift."""
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))
    return nn.Identity()


def _replace(network: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, new)
