"""Any torchvision classifier."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from fido.classifiers.base import Classifier
from fido.classifiers.imagenet_names import imagenet_names
from fido.classifiers.state import load_state, read_state

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names in DenseNet's files that PyTorch does not allow any more: "norm.1." is "norm1." now."""

WITH_HEADS = ("googlenet", "inception_v3")
"""Networks with auxiliary classifiers, which files may hold or not."""


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
            or None for random weights. A file by the name of an entry's own is that entry.
        classes: Number of outputs; other than 1,000 only with a file or random weights.
        class_names: One name a class; None takes ImageNet's for 1,000 classes.
        precision: See `Classifier`.
        channels_last: See `Classifier`.
        output: "softmax", "sigmoid" or "auto"; see `Classifier`.

    Raises:
        FileNotFoundError: If weights are to be downloaded and cannot be; names the file and place.
        ValueError: If the network or the weights entry does not exist, or a tensor does not fit.
    """
    network, transforms = torchvision_network(name, weights, classes)
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


def torchvision_network(name: str, weights: str | None, classes: int) -> tuple[nn.Module, Any]:
    """The network and the transforms of its weights.

    An entry's network is built by torchvision's own builder, which knows what its files need:
    renamed tensors, the size of a transformer's images, inputs that are normalised once more.

    Args:
        name: See `torchvision_classifier`.
        weights: See `torchvision_classifier`.
        classes: See `torchvision_classifier`.

    Raises:
        FileNotFoundError, ValueError: See `torchvision_classifier`.
    """
    known = list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=5)
        raise ValueError(
            f"classifier.name={name}: torchvision has no such classifier; "
            f"near: {', '.join(near) or ', '.join(known[:8])}"
        )
    entries = get_model_weights(name)
    entry: Any = entries.DEFAULT
    if weights is None:
        options = {"init_weights": True} if name in WITH_HEADS else {}
        return get_model(name, weights=None, num_classes=classes, **options), entry.transforms()
    if weights in entries.__members__:
        entry = entries[weights]
        state = _download(entry.url)
    elif Path(weights).suffix:
        state = read_state(weights)
        own = [e for e in entries if e.url.rsplit("/", 1)[1] == Path(weights).name]
        if not own or classes != 1000:
            return _from_file(name, state, classes, weights), entry.transforms()
        entry = own[0]
    else:
        raise ValueError(
            f"classifier.weights={weights!r} is neither a file nor one of "
            f"{', '.join(entries.__members__)}"
        )
    if classes != 1000:
        raise ValueError(
            f"classifier.weights={weights} has 1000 classes; give a file for "
            f"classifier.classes={classes}"
        )
    try:
        with _served(entry, state):
            return get_model(name, weights=entry), entry.transforms()
    except RuntimeError as error:  # load_state_dict's, with a line a tensor
        words = " ".join(str(error).split())
        raise ValueError(f"{name} {weights}: {textwrap.shorten(words, 200)}") from error


@contextmanager
def _served(entry: Any, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Have the builder of an entry take a state dict that was read without running code of it."""
    entry.get_state_dict = lambda *_, **__: state
    try:
        yield
    finally:
        del entry.get_state_dict


def _from_file(name: str, state: Mapping[str, Tensor], classes: int, source: str) -> nn.Module:
    """A network with the weights of a user's training."""
    options: dict[str, Any] = {}
    if name in WITH_HEADS:
        heads = any("aux" in tensor.lower() for tensor in state)
        options = {"aux_logits": heads, "init_weights": False}
    network: nn.Module = get_model(name, weights=None, num_classes=classes, **options)
    renamed = {OLD_DENSENET.sub(r"\1\2", tensor): value for tensor, value in state.items()}
    load_state(network, renamed if name.startswith("densenet") else state, source=source)
    return network


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
