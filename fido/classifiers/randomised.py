"""A classifier with random last layers, for checking that maps depend on the weights."""

from __future__ import annotations

import torch
from torch import nn

from fido.classifiers.base import Classifier


def randomised(classifier: Classifier, layers: int, seed: int = 0) -> Classifier:
    """Randomise the weights of the last layers, from the output towards the input.

    Layers are the network's modules with weights of their own and a `reset_parameters` (as
    PyTorch's have), in the order in which they are registered, which for feed-forward networks is
    the order of their use. The batch normalisations among them go back to their initial state.

    Args:
        classifier: Changed in place.
        layers: Number of last layers to randomise; 0 leaves the classifier as it is.
        seed: Seed of the new weights. The global random state is left as it was.

    Raises:
        ValueError: If there are fewer layers than asked for.

    Source: Adebayo et al. 2018, section 3.1 (cascading randomisation).
    """
    modules = [module for module in classifier.network.modules() if _has_weights(module)]
    if not 0 <= layers <= len(modules):
        raise ValueError(f"classifier.layers must lie in 0 to {len(modules)}, got {layers}")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in modules[len(modules) - layers :]:
            module.reset_parameters()  # type: ignore[operator]
    return classifier


def _has_weights(module: nn.Module) -> bool:
    own = next(module.parameters(recurse=False), None)
    return own is not None and callable(getattr(module, "reset_parameters", None))
