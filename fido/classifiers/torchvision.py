"""Any torchvision classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torchvision.models import get_model, get_model_weights

from fido.classifiers.base import Classifier
from fido.classifiers.imagenet_names import imagenet_names
from fido.classifiers.state import load_state, read_state


def torchvision_classifier(
    name: str,
    weights: str | None = "DEFAULT",
    classes: int = 1000,
    class_names: list[str] | None = None,
    precision: str = "float32",
    channels_last: bool = True,
    output: str = "auto",
) -> Classifier:
    """A classifier from `torchvision.models`, with the preprocessing of its weights.

    Args:
        name: As `torchvision.models.list_models()` gives it, e.g. "resnet50".
        weights: Name of a weights entry ("DEFAULT", "IMAGENET1K_V1"), a file with a state dict,
            or None for random weights.
        classes: Number of outputs; other than 1,000 only with a file or random weights.
        class_names: One name a class; None takes ImageNet's for 1,000 classes.
        precision: See `Classifier`.
        channels_last: See `Classifier`.
        output: "softmax", "sigmoid" or "auto"; see `Classifier`.

    Raises:
        FileNotFoundError: If weights are to be downloaded and cannot be; names the file and place.
        ValueError: If the network or the weights entry does not exist, or a tensor does not fit.
    """
    entries = get_model_weights(name)
    transforms: Any = entries.DEFAULT.transforms()
    network = get_model(name, weights=None, num_classes=classes)
    if weights is not None and Path(weights).suffix:
        load_state(network, read_state(weights), source=weights)
    elif weights is not None:
        if weights not in entries.__members__:
            raise ValueError(
                f"classifier.weights={weights!r} is neither a file nor one of "
                f"{', '.join(entries.__members__)}"
            )
        entry = entries[weights]
        transforms = entry.transforms()
        load_state(network, _download(entry.url), source=f"{name} {weights}")
    if class_names is None and classes == 1000:
        class_names = imagenet_names()
    crop, short_side = transforms.crop_size[0], transforms.resize_size[0]
    return Classifier(
        network,
        size=crop,
        mean=transforms.mean,
        std=transforms.std,
        class_names=class_names,
        interpolation=transforms.interpolation.value,
        crop_fraction=crop / short_side,
        precision=precision,
        channels_last=channels_last,
        output=output,
    )


def _download(url: str) -> Any:
    """The state dict behind `url`, from torch's cache or from the network."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise FileNotFoundError(
            f"the weights cannot be downloaded ({error}). Get {url} on a machine with network "
            f"access and place it at {place}, or give a local file as classifier.weights=FILE"
        ) from error
