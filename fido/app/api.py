"""The public API: explain one image with any classifier, from Python."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fido.app.folders import conf_folder
from fido.app.instantiate import build, pick_device
from fido.classifiers.base import Classifier
from fido.classifiers.black_box import BlackBox, Function
from fido.classifiers.self_check import check_classifier
from fido.data.image import ImageLike, load_image
from fido.explainers.base import Explainer, Progress, needs_gradient
from fido.infillers.base import Infiller
from fido.records import Explanation, Sample
from fido.runs.target import resolve_target

WITHOUT_GRADIENT = {
    "gradient": "leave_one_out",
    "samples": 16,
    "steps": 300,
    "learning_rate": 0.05,
}
"""Settings of FIDO for a function, unless others are given."""

SHARED = ("classifier", "infiller", "progress")
"""Parts of a method's configuration that are objects of the call."""


def explain(
    classifier: nn.Module | Function,
    image: ImageLike,
    target: str | int | None = None,
    *,
    method: str = "fido",
    infiller: str | Infiller = "ca",
    objective: str = "both",
    seed: int = 0,
    device: str | torch.device | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    output: str | None = None,
    channels: int | None = None,
    image_id: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Explanation:
    """Explain why a classifier sees a class in an image.

    Settings that are not given are those of `explain.py`: the defaults are read from the same
    files under `conf/`, so that the same image, settings and seed give the same map.

    Args:
        classifier: A fido `Classifier`, or any `nn.Module` that maps a normalised batch to logits.
            A module is copied; its modes, gradients and memory layout stay as they are. Any other
            function is asked for probabilities, (n, 3, h, w) array in [0, 1] -> (n, classes), and
            "fido" then takes `WITHOUT_GRADIENT`; see `fido.classifiers.black_box.BlackBox`.
        image: A path, a PIL image, or pixels in [0, 1] or uint8 at the classifier's size; see
            `load_image`. Files and PIL images are resized and cropped as the classifier's
            preprocessing does; a plain module crops nothing.
        target: The class to explain: None for the predicted one, "second" for the runner-up, a
            class index, or a class name.
        method: Name of a file in `conf/explainer`: "fido", "bbmp", "lime", "rise", "grad_cam", ...
            Methods of counterfactual images ("dvce", "pgd", "ace", ...) need another class as
            `target`.
        infiller: What stands in for dropped pixels: name of a file in `conf/infiller` ("ca",
            "blur", "mean", ...), or an `Infiller`. Not used by methods that take none.
        objective: "ssr", the smallest region that keeps the class, "sdr", the smallest region
            whose loss destroys it, or "both" of one region. Used by "fido" and "bbmp".
        seed: Of all random numbers.
        device: Where to compute, "cpu", "cuda:1" or "auto"; None is where the classifier is.
        mean: Of a plain module, three numbers in [0, 1] units; None is ImageNet's.
        std: Of a plain module, three numbers in [0, 1] units; None is ImageNet's.
        size: Of a plain module or function: (h, w) in pixels, or one number for a square. May be
            left out for pixels, which have a size.
        class_names: Of a plain module or function; None numbers the classes.
        output: Of a plain module: "softmax", or "sigmoid" for labels that are independent; None
            tells by the number of outputs. See `fido.Classifier`.
        channels: Of a plain module: 3, or 1 for grey images; None asks its first convolution.
        image_id: Names the image; random numbers depend on it. None is the file's name without
            suffix, or "image".
        progress: Called while the method works; see `Progress`.
        **settings: Any other setting of the method by its name in `conf/`: steps, samples,
            sparsity, grid, learning_rate, rows_per_pass, ...

    Returns:
        The explanation; `saliency` is (1, h, w), `region` where it exceeds its threshold, and
        `counterfactual` the changed image, (3, h, w) uint8, of methods that make one. Its
        `failure` says why there is no usable map, if there is none.

    Raises:
        ValueError: If a name, setting or class does not exist, or pixels do not fit; the text says
            what does.
        FileNotFoundError: If a file, or weights that the user has to get, are not there.

    Example:
        >>> import torch
        >>> import fido
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 5, stride=2),
        ...     torch.nn.ReLU(),
        ...     torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(),
        ...     torch.nn.Linear(4, 2),
        ... )
        >>> gray = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "infiller": "mean"}
        >>> explanation = fido.explain(network, torch.rand(3, 32, 40), steps=3, samples=2, **gray)
        >>> explanation.saliency.shape
        torch.Size([1, 32, 40])
        >>> sorted(explanation.history)
        ['area', 'loss', 'score', 'score_removed', 'sparsity']
        >>> fido.explain(network, torch.rand(3, 32, 40), 1, method="gradient", **gray).target
        1
    """
    given = {
        "mean": mean,
        "std": std,
        "size": size,
        "class_names": class_names,
        "output": output,
        "channels": channels,
    }
    options = {name: value for name, value in given.items() if value is not None}
    # Configuration first: a misspelt name should not wait for an image or a network.
    cfg = _configuration(method, infiller, objective, seed, settings)
    with _wrapped(classifier, image, options, device) as wrapped, torch.enable_grad():
        if not wrapped.differentiable and "gradient" in cfg.explainer:
            cfg.explainer.update({**WITHOUT_GRADIENT, **_of(settings, WITHOUT_GRADIENT)})
        sample = _sample(wrapped, image, target, image_id)
        explainer = _explainer(cfg, wrapped, infiller, progress)
        check_classifier(wrapped, sample.image, needs_gradient(explainer))
        (explanation,) = explainer.explain([sample])
    return replace(explanation, seed=seed)


def _configuration(
    method: str,
    infiller: str | Infiller,
    objective: str,
    seed: int,
    settings: Mapping[str, Any],
) -> DictConfig:
    """The configuration of `explain.py`, with its `explainer` resolved and set."""
    conf = conf_folder()
    choices = {"explainer": ("method", method), "objective": ("objective", objective)}
    if isinstance(infiller, str):
        choices["infiller"] = ("infiller", infiller)
    for group, (argument, name) in choices.items():
        names = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if name not in names:
            raise ValueError(f"{argument}={name!r}: expected one of {', '.join(names)}")
    overrides = [f"{group}={name}" for group, (_, name) in choices.items()]
    cfg = copy.deepcopy(_composed(conf, *overrides))
    OmegaConf.set_struct(cfg, False)
    cfg.seed = seed
    OmegaConf.resolve(cfg.explainer)
    for name, value in settings.items():
        _place(cfg.explainer, method, name)[name] = value
    return cfg


@cache  # composing takes longer than some methods do
def _composed(conf: Path, *overrides: str) -> DictConfig:
    """What Hydra composes; works inside of another Hydra application too."""
    outer = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            cfg: DictConfig = compose("explain", [*overrides])
            return cfg
    finally:
        restore_gh_from_backup(outer)


def _place(explainer: DictConfig, method: str, name: str) -> DictConfig:
    """The part of a method's configuration that has a setting: itself, its objective or mask.

    Raises:
        ValueError: If no part has it; names the settings that there are.
    """
    parts = [explainer] + [explainer[part] for part in ("objective", "mask") if part in explainer]
    parts += [more for part in parts for more in part.get("_args_", [])]
    known: list[str] = []
    for part in parts:
        names = _names(part)
        if name in names:
            place: DictConfig = part
            return place
        known += names
    raise ValueError(
        f"method={method!r} has no setting {name!r}; it has {', '.join(known) or 'none'}"
    )


def _of(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names, as far as they are given."""
    return {name: settings[name] for name in names if name in settings}


def _names(part: DictConfig) -> list[str]:
    """Names of the plain settings of a configuration."""
    values = OmegaConf.to_container(part)
    assert isinstance(values, dict)
    return [
        str(name)
        for name, value in values.items()
        if not str(name).startswith("_") and name not in SHARED and not isinstance(value, dict)
    ]


@contextmanager
def _wrapped(
    network: nn.Module | Function,
    image: ImageLike,
    options: Mapping[str, Any],
    device: str | torch.device | None,
) -> Iterator[Classifier]:
    """A classifier on the device; what the user gave is as it was when the context ends."""
    if "size" not in options and not isinstance(network, Classifier):
        options = {**options, "size": _size_of(image)}
    if not isinstance(network, nn.Module):
        for name in ("mean", "std"):
            if name in options:
                raise ValueError(f"{name}: a function gets pixels in [0, 1] and has none")
        box = BlackBox(network, **options)
        yield box if device is None else box.to(pick_device(str(device)))
        return
    with _left_as_it_was(network):
        if isinstance(network, Classifier):
            if options:
                raise ValueError(
                    f"{', '.join(options)}: a fido Classifier has its own; "
                    "give these for a plain nn.Module only"
                )
            classifier = network
        else:
            classifier = Classifier(network, **options, crop_fraction=1.0)
        yield classifier if device is None else classifier.to(pick_device(str(device)))


@contextmanager
def _left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Restore modes, gradient flags, layout and place of a module's tensors at the end."""
    modes = [(module, module.training, dict(module._buffers)) for module in network.modules()]
    tensors = [(p, p.data, p.requires_grad) for p in network.parameters()]
    try:
        yield
    finally:
        for parameter, data, requires_grad in tensors:
            parameter.data = data
            parameter.requires_grad_(requires_grad)
        for module, training, buffers in modes:
            module.training = training
            module._buffers.update(buffers)


def _size_of(image: ImageLike) -> tuple[int, int]:
    """(h, w) of pixels.

    Raises:
        ValueError: If the image is a file or a PIL image, which do not tell the network's size.
    """
    if not isinstance(image, np.ndarray | Tensor):
        raise ValueError(
            "a photo is resized to the size that the network takes: give size=224 or "
            "size=(h, w), or pixels of that size as a tensor"
        )
    pixels = load_image(image)
    return pixels.shape[-2], pixels.shape[-1]


def _sample(
    classifier: Classifier, image: ImageLike, target: str | int | None, image_id: str | None
) -> Sample:
    """The image at the classifier's size, with its target."""
    if isinstance(image, np.ndarray | Tensor):
        pixels = load_image(image)
        size = (pixels.shape[-2], pixels.shape[-1])
        if size != classifier.size:
            raise ValueError(
                f"pixels of {size[0]} x {size[1]} for a classifier of {classifier.size[0]} x "
                f"{classifier.size[1]}; resize them with "
                f"fido.load_image(image, size={classifier.size})"
            )
    else:
        pixels = load_image(
            image, classifier.size, classifier.crop_fraction, classifier.interpolation
        )
    if image_id is None:
        image_id = Path(image).stem if isinstance(image, str | os.PathLike) else "image"
    sample = Sample(image_id, pixels)
    with torch.no_grad():
        logits = classifier(pixels.unsqueeze(0).to(classifier.device))[0].cpu()
    chosen = "predicted" if target is None else target
    index = resolve_target(
        chosen,
        sample,
        logits,
        classifier.class_names,
        exclusive=classifier.output.exclusive,
    )
    return Sample(image_id, pixels, target=index)


def _explainer(
    cfg: DictConfig,
    classifier: Classifier,
    infiller: str | Infiller,
    progress: Progress | None,
) -> Explainer:
    shared: dict[str, Any] = {"classifier": classifier, "progress": progress}
    if "infiller" in set(cfg.explainer):  # `in` alone does not see what is left open
        filled = build(cfg.infiller) if isinstance(infiller, str) else infiller
        shared["infiller"] = filled.to(classifier.device)
    explainer: Explainer = build(cfg.explainer, **shared)
    return explainer
