"""Batch normalisations of a frozen classifier become part of the convolutions before them."""

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
"""Largest difference of a logit, as a share of the largest logit, at which folding is believed."""


@torch.no_grad()
def fold_batch_norms(classifier: Classifier) -> Classifier:
    """Folds what can be folded, in place, and gives the classifier back.

    A normalisation with fixed statistics is a scale and a shift for every channel, which the
    convolution before it can do by the way. Logits stay the same up to rounding, and a pass
    forward and backward gets shorter, as normalisations are bound by memory. Modules keep their
    names and what they put out; a folded normalisation is left with its activation, if any.

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
    whole = classifier.network
    before = classifier(image)
    names = {module: name for name, module in whole.named_modules()}
    network = copy.deepcopy(whole)
    classifier.network = network
    for convolution, norm in pairs:
        _replace(network, names[convolution], fuse_conv_bn_eval(convolution, norm))
        _replace(network, names[norm], _activation(norm))
    network.requires_grad_(False).to(memory_format=classifier.memory_format)
    classifier.eval()
    if not torch.allclose(classifier(image), before, 0, TOLERANCE * float(before.abs().max())):
        classifier.network = whole


def _pairs(classifier: Classifier, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Normalisations whose input is what a convolution just put out; each module used once."""
    made: dict[int, tuple[Tensor, nn.Module]] = {}
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def look(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            # The tensor is kept, or another one could get its id.
            made[id(output)] = (output, module)
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d) and id(given[0]) in made:
            pairs.append((made[id(given[0])][1], module))  # type: ignore[arg-type]

    hooks = [module.register_forward_hook(look) for module in classifier.network.modules()]
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
    """What is left of a normalisation when its scale and shift are gone."""
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))
    return nn.Identity()


def _replace(network: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, new)
