"""Names of contents: of files, folders, settings, and a network's tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_as_json = json.JSONEncoder(sort_keys=True, default=str).encode


def digest(*parts: Mapping[str, Any] | Tensor | str | float | int | None) -> str:
    """A short name of settings and tensors that differs where they do."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
            sha.update(_bytes(part))
        else:
            sha.update(_as_json(part).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:24]


def weights_digest(module: nn.Module) -> str:
    """A short name of all parameters and buffers of a module, whatever they are called."""
    return digest(*module.parameters(), *module.buffers())


def file_digest(path: Path) -> str:
    """Sha256 of a file's bytes, hexadecimal; read once a process unless the file changes.

    Raises:
        OSError: If it cannot be read.
    """
    about = path.stat()
    stamp = about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
    return _file_digest(path.absolute(), stamp)


def folder_digest(folder: Path) -> str:
    """Sha256 of the names and contents of all files of a folder; hidden ones do not count.

    Raises:
        OSError: If one cannot be read.
    """
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            sha.update(f"{'/'.join(parts)}\0{file_digest(path)}\n".encode(errors="surrogateescape"))
    return sha.hexdigest()


def network_digest(network: nn.Module) -> str | None:
    """Sha256 of all parameters and buffers with their names; None if there are none.

    Device and memory layout do not count.
    """
    sha, tensors = hashlib.sha256(), 0
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.numel():
            tensors += 1
            sha.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}\0".encode())
            sha.update(_bytes(tensor))
    return sha.hexdigest() if tensors else None


def _bytes(tensor: Tensor) -> memoryview:
    """The numbers of a tensor of any type, NumPy's or not, row by row."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data


@lru_cache(maxsize=256)  # weights, not photos without end
def _file_digest(path: Path, stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
