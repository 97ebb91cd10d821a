"""Any explainer of this package as a Quantus `explain_func`; Quantus itself is not imported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fido.classifiers.base import Classifier
from fido.explainers.base import Explainer
from fido.integrations.inputs import known_classes, near_unit
from fido.records import Sample

SAMPLE_ID = "input"
"""All images have one id, and so the same random numbers: what robustness metrics compare then
differs by the images alone."""


def explain(
    model: nn.Module,
    inputs: np.ndarray | torch.Tensor,
    targets: np.ndarray | torch.Tensor | Sequence[int],
    *,
    explainer: Callable[[Classifier], Explainer] | None = None,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    device: str | torch.device | None = None,
    **_: Any,
) -> np.ndarray:
    """Saliency maps, by the names and types that Quantus calls with.

        metric = quantus.FaithfulnessCorrelation()
        build = functools.partial(Rise, infiller=MeanInfiller(), masks=1000)
        metric(model=model, x_batch=x, y_batch=y, a_batch=None, explain_func=explain,
               explain_func_kwargs={"explainer": build, "mean": mean, "std": std})

    Quantus passes further keywords to every function; they are ignored.

    Args:
        model: What Quantus measures, a torch network or a `Classifier`. It is copied, so that
            neither its mode nor its `requires_grad` change.
        inputs: (n, 3, h, w) as the model takes them.
        targets: (n,) class indices.
        explainer: Builds an explainer for the classifier that it is given: Quantus also asks for
            maps of other models, with randomised weights. The infiller that it brings along must
            be on `device`.
        mean: That was subtracted from pixels in [0, 1] to get `inputs`, a value a channel.
        std: That they were divided by then. A `Classifier` takes pixels, and needs neither.
        device: Where to compute; None is where the model is.

    Returns:
        (n, 1, h, w) float32.

    Raises:
        ValueError: If there is no explainer, a shape is wrong, inputs are normalised and `mean` and
            `std` are not given, a class does not exist, or an image has no usable map.

    Source: Hedström et al. 2023 (the interface).
    """
    if explainer is None:
        raise ValueError(
            "explain needs explain_func_kwargs={'explainer': build}, with build(classifier) "
            "giving an explainer"
        )
    image = torch.as_tensor(inputs, dtype=torch.float32)
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"inputs must be (n, 3, h, w), got {tuple(image.shape)}")
    classifier = _classifier(model, (image.shape[-2], image.shape[-1]), mean, std, device)
    chosen = known_classes(torch.as_tensor(targets).flatten().tolist(), classifier)
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    pixels = near_unit(image.cpu() * scale + shift, "; give mean= and std= of the normalisation")
    samples = [
        Sample(SAMPLE_ID, row, target=int(index)) for row, index in zip(pixels, chosen, strict=True)
    ]
    with torch.enable_grad():
        explanations = explainer(classifier).explain(samples)
    for explanation in explanations:
        if explanation.failure is not None:
            raise ValueError(f"the explainer found no map: {explanation.failure}")
    return torch.stack([explanation.saliency for explanation in explanations]).numpy()


def _classifier(
    model: nn.Module,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    device: str | torch.device | None,
) -> Classifier:
    network = copy.deepcopy(model)
    if device is None:
        device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    if isinstance(network, Classifier):
        return network.to(device)
    # On the network's device before its class names are counted, by a forward pass on the CPU.
    return Classifier(network.cpu(), size, mean, std).to(device)
