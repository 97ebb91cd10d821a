"""State dicts: reading files without running code from them, and loading with names in errors."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params")
"""Names under which checkpoints of trainings keep the state dict, the first that is there."""

COUNTER = "num_batches_tracked"
"""Of batch normalisations; older checkpoints have none, and evaluation does not use it."""


def load_state(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict; name the tensor that does not fit.

    A prefix that all of the network's tensors carry in the file ("module." of data-parallel
    trainings, "model." of Lightning) is taken off; what does not carry it is of other parts, such
    as a loss, and left out.

    Raises:
        ValueError: On the first missing, unexpected or misshapen tensor.
    """
    own = network.state_dict()
    state = _without_prefix(state, own, source)
    for name, tensor in state.items():
        if name not in own:
            raise ValueError(f"{source}: tensor {name!r} has no place in the network")
        if own[name].shape != tensor.shape:
            raise ValueError(
                f"{source}: tensor {name!r} has shape {tuple(tensor.shape)}, "
                f"the network expects {tuple(own[name].shape)}"
            )
    missing = sorted(name for name in set(own) - set(state) if not name.endswith(COUNTER))
    if missing:
        raise ValueError(f"{source}: tensor {missing[0]!r} is missing ({len(missing)} in all)")
    # Some networks read files of older versions of themselves, by the version that is noted here.
    versioned = OrderedDict(state)
    versioned._metadata = getattr(state, "_metadata", own._metadata)  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=False)


def _without_prefix(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str
) -> Mapping[str, Tensor]:
    """The tensors under the network's names, where a prefix is all that keeps them apart."""
    wanted = [name for name in own if not name.endswith(COUNTER)]
    if not wanted or all(name in state for name in wanted):
        return state
    ends = [name.removesuffix(wanted[0]) for name in state if name.endswith(f".{wanted[0]}")]
    for prefix in sorted(ends, key=len):
        if all(prefix + name in state for name in wanted):
            inside = {
                name.removeprefix(prefix): tensor
                for name, tensor in state.items()
                if name.startswith(prefix)
            }
            if len(inside) < len(state):
                log.warning(
                    "%s: %d tensors without the prefix %r are of other parts and left out",
                    source,
                    len(state) - len(inside),
                    prefix,
                )
            return inside
    return state


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, or from a torch file without running code from it.

    A checkpoint that wraps its weights, as {"state_dict": ...} or {"model": ...}, is unwrapped.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read as tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own exceptions; all mean the same here
        raise ValueError(f"cannot read weights from {path}: {_reason(error)}") from error
    for _ in range(2):  # {"model": {"state_dict": ...}}
        if _is_state(state) or not isinstance(state, Mapping):
            break
        inner = [state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping)]
        state = inner[0] if inner else state
    if not _is_state(state):
        held = (
            f"a dictionary with {', '.join(map(str, list(state)[:6]))}"
            if isinstance(state, Mapping)
            else type(state).__name__
        )
        raise ValueError(
            f"{path} does not hold a state dict (names to tensors), nor one under "
            f"{', '.join(WRAPPERS[:3])}; it holds {held}"
        )
    return dict(state) if type(state) is not OrderedDict else state


def _is_state(state: object) -> bool:
    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(isinstance(value, Tensor) for value in state.values())
    )


def _reason(error: Exception) -> str:
    """Torch's advice is to switch the protection off, which is no advice for a file of others."""
    text = str(error)
    if "weights_only" in text or "Unsupported" in text:
        return (
            "it holds more than tensors, such as a whole pickled module, and loading it would run "
            "code from it. Save the state dict, torch.save(network.state_dict(), FILE), where the "
            "file comes from"
        )
    return text
