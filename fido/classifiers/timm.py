"""Any timm classifier."""

from __future__ import annotations

from typing import Any

import timm
from timm.data.config import resolve_model_data_config

from fido.classifiers.base import Classifier
from fido.classifiers.imagenet_names import imagenet_names
from fido.classifiers.state import load_state, read_state


def timm_classifier(
    name: str,
    weights: str | None = "pretrained",
    classes: int | None = None,
    class_names: list[str] | None = None,
    precision: str = "float32",
    channels_last: bool = True,
    output: str = "auto",
) -> Classifier:
    """A classifier from timm, with the preprocessing that the model's own config states.

    Args:
        name: As `timm.list_models()` gives it, e.g. "vit_tiny_patch16_224".
        weights: "pretrained" (from the hub), a file with a state dict, or None for random weights.
        classes: Number of outputs; None keeps the model's own.
        class_names: One name a class; None takes ImageNet's for 1,000 classes.
        precision: See `Classifier`.
        channels_last: See `Classifier`.
        output: "softmax", "sigmoid" or "auto"; see `Classifier`.

    Raises:
        FileNotFoundError: If hub weights are asked for and cannot be had; says what to do instead.
        ValueError: If the model does not exist or a tensor does not fit.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise ValueError(f"timm has no model {name!r}; it has {', '.join(near) or 'others'}")
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    try:
        network = timm.create_model(name, pretrained=weights == "pretrained", **options)
    except (OSError, RuntimeError) as error:
        if weights != "pretrained":
            raise
        raise FileNotFoundError(
            f"the weights of {name} cannot be had from the hub ({error}). Download them on a "
            "machine with network access and give the file as classifier.weights=FILE, or use "
            "classifier.weights=null for random weights"
        ) from error
    if weights not in (None, "pretrained"):
        load_state(network, read_state(str(weights)), source=str(weights))
    config = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    if class_names is None and network.num_classes == 1000:
        class_names = imagenet_names()
    return Classifier(
        network,
        size=tuple(config["input_size"][1:]),
        mean=config["mean"],
        std=config["std"],
        class_names=class_names,
        interpolation=config["interpolation"],
        crop_fraction=config["crop_pct"],
        precision=precision,
        channels_last=channels_last,
        output=output,
    )
