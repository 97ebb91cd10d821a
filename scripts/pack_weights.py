"""Add trained weights to the shipped ones: `python scripts/pack_weights.py NAME FILE NETWORK`."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fido.runtime.files import atomic_path, write_json
from fido.weights import FOLDER, ShippedFile, manifest


def half(value: Tensor) -> Tensor:
    """The tensor in half precision; integers stay.

    Raises:
        ValueError: If a value is not finite, or would not be in half precision.
    """
    if not value.is_floating_point():
        return value
    packed = value.to(torch.float16)
    if not packed.isfinite().all():
        raise ValueError(f"values up to {float(value.abs().max()):g} do not fit half precision")
    return packed


def pack(name: str, source: Path, network: str, folder: Path = FOLDER) -> ShippedFile:
    """Writes `<name>.safetensors` in half precision and its entry in the manifest.

    Args:
        name: What the weights are called in configurations.
        source: A `.safetensors` file as trainings write it, e.g. `ema.safetensors`.
        network: Dotted path of the class that the weights belong to.
        folder: Where the manifest is.

    Returns:
        The new entry, which a model card quotes.
    """
    state = {key: half(value).contiguous() for key, value in load_file(source).items()}
    target = folder / f"{name}.safetensors"
    with atomic_path(target) as temporary:
        save_file(state, temporary)
    content = target.read_bytes()
    entry = ShippedFile(
        file=target.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        network=network,
        card=f"docs/models/{name}.md",
    )
    entries = {**manifest(folder), name: entry}
    write_json(folder / "manifest.json", {key: asdict(entries[key]) for key in sorted(entries)})
    return entry


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python scripts/pack_weights.py", description=__doc__)
    parser.add_argument("name", help="what the weights are called, e.g. ca")
    parser.add_argument("file", type=Path, help="ema.safetensors of a training")
    parser.add_argument("network", help="dotted path of the network's class")
    arguments = parser.parse_args()
    entry = pack(arguments.name, arguments.file, arguments.network)
    print(f"{entry.file}: {entry.bytes} bytes, sha256 {entry.sha256}")


if __name__ == "__main__":
    main()
