"""What a network is given: a copy of itself, channels, normalisation, names."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

LUMINANCE = (0.299, 0.587, 0.114)
"""Share of red, green, blue in the grey that a network of one channel is given (ITU-R 601-2)."""


def tensors_of(network: nn.Module) -> Iterator[Tensor]:
    """All tensors of a network, parameters first."""
    yield from network.parameters()
    yield from network.buffers()


def own_copy(network: nn.Module) -> nn.Module:
    """A copy of what is inside of compiled and data-parallel wrappers.

    Raises:
        ValueError: If the network is a TorchScript module, which passes no settings on.
    """
    while isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
        network = inner
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = network.module
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError(
            "the network is a TorchScript module, which cannot be frozen nor looked into; give the "
            "nn.Module that it was made of, with its state dict"
        )
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"classifier.network must be a torch.nn.Module or a function that returns one, got "
            f"{type(network).__name__}"
        )
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever a module's parts raise when they are copied
        log.warning(
            "the network cannot be copied (%s); it is frozen and put into evaluation mode itself",
            str(error).partition("\n")[0],
        )
        return network


def channels_of(network: nn.Module, channels: int | str) -> int:
    """Channels of the images that the network takes, 1 or 3.

    Raises:
        ValueError: If it takes another number.
    """
    if channels not in ("auto", 1, 3):
        raise ValueError(f"classifier.channels must be 1, 3 or auto, got {channels}")
    if channels in (1, 3):
        return int(channels)
    convolutions = (m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    first = next(convolutions, 3)
    if first in (2, 4):  # others may stand behind a layer of another kind
        raise ValueError(
            f"the network's first convolution takes {first} channels; fido explains networks of "
            "RGB images (3 channels) and of grey ones (1 channel)"
        )
    return 1 if first == 1 else 3


def number_a_channel(name: str, values: float | Sequence[float], channels: int) -> list[float]:
    """One number a channel.

    Raises:
        ValueError: If there are as many numbers as channels in no reading.
    """
    numbers = [values] if isinstance(values, int | float) else list(values)
    if len(numbers) == 1 or len(set(numbers)) == 1:
        numbers = [numbers[0]] * channels
    if len(numbers) != channels:
        raise ValueError(
            f"classifier.{name}: {len(numbers)} numbers for a network of {channels} channels; "
            f"give {'one: [0.5]' if channels == 1 else 'three'}"
        )
    if name == "std" and not all(number > 0 for number in numbers):
        raise ValueError(f"classifier.std must be above 0, got {numbers}")
    return [float(number) for number in numbers]


def as_texts(names: Sequence[object]) -> list[str]:
    """Names as text: on a command line `[0,1]` holds numbers and `[false,true]` switches."""
    return [str(name).lower() if isinstance(name, bool) else str(name) for name in names]
