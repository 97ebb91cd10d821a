"""Tensors to a file: what the disk says is an OSError, as of any other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from fido.runtime.files import atomic_path


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        OSError: If it cannot be written: a full disk, a quota, no rights.
    """
    given = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(given, temporary, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error
