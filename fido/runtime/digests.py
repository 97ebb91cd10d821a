"""Short names of settings, tensors and weights, which differ where these do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def digest(*parts: Mapping[str, Any] | Tensor | str | float | int | None) -> str:
    """A short name of settings and tensors that differs where they do."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
            sha.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            sha.update(json.dumps(part, sort_keys=True, default=str).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:24]


def weights_digest(module: nn.Module) -> str:
    """A name of all parameters and buffers of a module."""
    return digest(*module.parameters(), *module.buffers())
