"""Two small classifiers that ship with the package: ten ImageNet classes, a ResNet and a ViT.

They are of other kinds than the default EfficientNet and share no weights with it: oracles for
counterfactual images, and a check that a setting is not tuned to one network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from timm.layers.hybrid_embed import HybridEmbed
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from torch import nn

from fido import weights as shipped
from fido.classifiers.base import Classifier
from fido.classifiers.imagenet_names import imagenet_names

SIZE = 112
IMAGENET_INDICES = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
"""The ten classes among ImageNet's thousand, in the order of the outputs."""


def natural10_names() -> list[str]:
    """ImageNet's names of the ten classes, from "tench" to "parachute"."""
    names = imagenet_names()
    return [names[index] for index in IMAGENET_INDICES]


def small_resnet(
    num_classes: int = 10,
    layers: Sequence[int] = (2, 2, 2, 2),
    channels: Sequence[int] = (48, 96, 144, 240),
) -> nn.Module:
    """A ResNet of basic blocks, by default ResNet-18 with fewer channels: 3.0 M parameters.

    Args:
        num_classes: Outputs.
        layers: Blocks of every stage, at strides 4, 8, 16 and 32.
        channels: Of every stage; the stem has those of the first.

    Source: He et al. 2016, "Deep residual learning for image recognition", table 1.
    """
    network: nn.Module = ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm annotates the instance, not the class
        layers=tuple(layers),
        channels=tuple(channels),
        stem_width=channels[0],
        num_classes=num_classes,
    )
    return network


def small_vit(
    num_classes: int = 10,
    size: int = SIZE,
    stem: Sequence[int] = (32, 64, 128),
    dim: int = 192,
    depth: int = 8,
    heads: int = 3,
    mlp_ratio: float = 2.0,
    drop_path: float = 0.1,
) -> nn.Module:
    """A vision transformer whose patches are embedded by four convolutions: 2.7 M parameters.

    Tokens are the places at stride 16, 7 x 7 at 112 pixels; their mean is classified.

    Args:
        num_classes: Outputs.
        size: Side of the images in pixels, a multiple of 16.
        stem: Channels of the convolutions at strides 2, 4 and 8; a fourth gives the tokens.
        dim: Channels of a token.
        depth: Blocks.
        heads: Of attention in a block.
        mlp_ratio: Hidden channels of a block's perceptron, in multiples of `dim`.
        drop_path: Largest probability of leaving out a block in training.

    Source: Dosovitskiy et al. 2021, "An image is worth 16x16 words"; Xiao et al. 2021, "Early
    convolutions help transformers see better", section 3 (the stem).
    """

    def embed(embed_dim: int, patch_size: int, **options: Any) -> nn.Module:
        convolutions = ConvStem(depth=4, channels=(*stem, embed_dim), stride=(2, 2, 2, 2))
        embedding: nn.Module = HybridEmbed(
            convolutions, proj=False, embed_dim=embed_dim, patch_size=1, **options
        )
        return embedding

    network: Any = VisionTransformer(
        img_size=size,
        patch_size=16,
        num_classes=num_classes,
        embed_layer=embed,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path,
        class_token=False,
        global_pool="avg",
    )
    for block in network.blocks:
        # The gradient of the fused kernel is the slower one on CPUs.
        block.attn.fused_attn = False
    return cast(nn.Module, network)


def natural10_resnet(
    weights: str | Path | None = "natural10_resnet",
    class_names: Sequence[str] | None = None,
    precision: str = "float32",
    channels_last: bool = True,
) -> Classifier:
    """ResNet of ten classes at 112 pixels.

    Trained on about 7,000 photos of ImageNet's training set, 800 a class less those held out; see
    docs/models/natural10_resnet.md. Inputs are normalised by ImageNet's mean (0.485, 0.456, 0.406)
    and deviation (0.229, 0.224, 0.225).

    Args:
        weights: "natural10_resnet" for the shipped weights, the path of a `.safetensors` file that
            `train.py model=classifier` wrote with `network=resnet`, or None for random weights.
        class_names: Names of the outputs; None: the ten of `natural10_names`.
        precision: See `Classifier`.
        channels_last: See `Classifier`.

    Returns:
        (n, 3, 112, 112) in [0, 1] to (n, 10) logits.

    Raises:
        FileNotFoundError: If a weights file is not there.
        ValueError: If weights are damaged or do not fit.
    """
    names = list(class_names) if class_names is not None else natural10_names()
    network = small_resnet(len(names))
    return _classifier(network, weights, names, precision, channels_last)


def natural10_vit(
    weights: str | Path | None = "natural10_vit",
    class_names: Sequence[str] | None = None,
    precision: str = "float32",
    channels_last: bool = True,
) -> Classifier:
    """Vision transformer of ten classes at 112 pixels.

    Trained as `natural10_resnet`, on the same photos; see docs/models/natural10_vit.md.

    Args:
        weights: "natural10_vit" for the shipped weights, the path of a `.safetensors` file that
            `train.py model=classifier` wrote with `network=vit`, or None for random weights.
        class_names: Names of the outputs; None: the ten of `natural10_names`.
        precision: See `Classifier`.
        channels_last: See `Classifier`.

    Returns:
        (n, 3, 112, 112) in [0, 1] to (n, 10) logits.

    Raises:
        FileNotFoundError: If a weights file is not there.
        ValueError: If weights are damaged or do not fit.
    """
    names = list(class_names) if class_names is not None else natural10_names()
    network = small_vit(len(names))
    return _classifier(network, weights, names, precision, channels_last)


def _classifier(
    network: nn.Module,
    weights: str | Path | None,
    names: list[str],
    precision: str,
    channels_last: bool,
) -> Classifier:
    if weights is not None:
        shipped.load(network, weights)
    return Classifier(
        network,
        size=SIZE,
        class_names=names,
        crop_fraction=1.0,
        precision=precision,
        channels_last=channels_last,
    )
