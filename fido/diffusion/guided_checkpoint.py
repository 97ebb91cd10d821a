"""OpenAI's guided-diffusion checkpoints as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fido.networks.guided_unet import GuidedClassifier, GuidedUNet
from fido.runtime.files import atomic_path

KINDS = {"256x256_diffusion_uncond": GuidedUNet, "256x256_classifier": GuidedClassifier}
"""The authors' files that are known, and their networks at their defaults."""


def convert(source: Path, destination: Path, half: bool = False) -> str:
    """Write a checkpoint as safetensors, after comparing all names and shapes.

    Args:
        source: The authors' file, `256x256_diffusion_uncond.pt` or `256x256_classifier.pt`. Only
            its tensors are read, no code in it is run.
        destination: The file to write, `*.safetensors`.
        half: Whether to store half precision, at half of the size.

    Returns:
        Which of `KINDS` it is.

    Raises:
        ValueError: If it is no file of tensors, or none of these checkpoints; says what differs.
        FileNotFoundError: If it is not there.
    """
    if not source.is_file():
        raise FileNotFoundError(f"there is no checkpoint {source}")
    if destination.suffix != ".safetensors":
        raise ValueError(f"the result is written as *.safetensors, got {destination}")
    state = _tensors(source)
    kind = identify(state)
    dtype = torch.float16 if half else torch.float32
    with atomic_path(destination) as temporary:
        save_file({name: value.to(dtype).contiguous() for name, value in state.items()}, temporary)
    return kind


def identify(state: dict[str, Tensor]) -> str:
    """Which of `KINDS` has exactly these names and shapes.

    Raises:
        ValueError: If none; says what differs from the one that is nearest.
    """
    given = {name: tuple(value.shape) for name, value in state.items()}
    differing = {}
    for kind, network in KINDS.items():
        wanted = _shapes(network)
        names = [n for n in wanted.keys() | given.keys() if wanted.get(n) != given.get(n)]
        if not names:
            return kind
        differing[kind] = (sorted(names), wanted)
    kind, (names, wanted) = min(differing.items(), key=lambda item: len(item[1][0]))
    first = names[0]
    raise ValueError(
        f"these are none of the checkpoints {', '.join(KINDS)}: of {kind} {len(names)} tensors "
        f"differ, first {first}: got {given.get(first)}, expected {wanted.get(first)}"
    )


def _shapes(network: type[nn.Module]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in network().state_dict().items()}


def _tensors(source: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own exceptions; all mean the same here
        raise ValueError(f"{source} is damaged or holds more than tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{source} is no dictionary of tensors")
    return state
