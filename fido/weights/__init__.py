"""The weights that are shipped with the package, and proof that they are the right ones.

`manifest.json`, beside the files, has for every file its sha256, its size, the class of the
network it belongs to and its model card. Files are stored in half precision.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ShippedFile:
    """What the manifest says of one file.

    Attributes:
        file: Name of the file, in the folder of the manifest.
        sha256: Of the file's bytes, hexadecimal.
        bytes: Size of the file.
        network: Dotted path of the network's class.
        card: Model card, relative to the project's folder.
    """

    file: str
    sha256: str
    bytes: int
    network: str
    card: str


def manifest(folder: Path = FOLDER) -> dict[str, ShippedFile]:
    """The shipped weights by name.

    Raises:
        FileNotFoundError: If there is no manifest: the package was not installed whole.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; install the package again, it is incomplete")
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {name: ShippedFile(**entry) for name, entry in entries.items()}


def find(name: str, folder: Path = FOLDER) -> Path:
    """The shipped file of this name, after comparing its sha256.

    Raises:
        ValueError: If the manifest has no such name, or the file's bytes are not the shipped ones.
        FileNotFoundError: If the file is not there.
    """
    entries = manifest(folder)
    if name not in entries:
        raise ValueError(
            f"no shipped weights are called {name!r}; shipped: {', '.join(sorted(entries))}. "
            "Weights of your own are given as the path of a .safetensors file"
        )
    path = folder / entries[name].file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; install the package again, it is incomplete")
    found = _sha256(path, path.stat().st_mtime_ns)
    if found != entries[name].sha256:
        raise ValueError(
            f"{path} has sha256 {found}, expected {entries[name].sha256}: it was changed or "
            "cut off; install the package again"
        )
    return path


def read(weights: str | Path, folder: Path = FOLDER) -> dict[str, Tensor]:
    """Tensors of shipped weights (by name) or of a user's file (by path), in float32.

    Args:
        weights: A name in the manifest, or the path of a `.safetensors` file.
        folder: Where the manifest is.

    Raises:
        ValueError: See `find`; or if a path has another suffix, or its file is damaged.
        FileNotFoundError: If the file is not there.
    """
    path = Path(weights)
    if not path.suffix and len(path.parts) == 1:
        path = find(str(weights), folder)
    elif path.suffix != ".safetensors":
        raise ValueError(f"weights are read from .safetensors files only, got {path}")
    elif not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    try:
        return {key: _float32(value) for key, value in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}): copy or download it again"
        ) from error


def load(network: nn.Module, weights: str | Path, folder: Path = FOLDER) -> None:
    """Puts weights into a network, every tensor of it.

    Raises:
        ValueError: See `read`; or if names or shapes do not fit the network.
        FileNotFoundError: If the file is not there.
    """
    state = read(weights, folder)
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    if wanted != given:
        differing = sorted(k for k in wanted.keys() | given.keys() if wanted.get(k) != given.get(k))
        first = differing[0]
        raise ValueError(
            f"weights {weights} do not fit {type(network).__name__}: {len(differing)} tensors "
            f"differ, first {first}: got {given.get(first)}, expected {wanted.get(first)}"
        )
    network.load_state_dict(state)


@cache
def _sha256(path: Path, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
