"""The released weights of DeepFill v1: what they are called, how to recognise and load them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fido.runtime.files import atomic_path
from fido.weights.crc32c import masked_crc32c
from fido.weights.tensor_bundle import find_prefix, read_bundle

RELEASES = ("imagenet", "places2", "celeba")
INDEX_FILE = "snap-0.index"
DATA_FILE = "snap-0.data-00000-of-00001"
DATA_BYTES = 14_406_168

# The first prefix that fits names the part of `fido.networks.deepfill.DeepFill`.
_PARTS = {
    "allconv": "decoder",
    "xconv": "hallucination",
    "pmconv9": "after_attention",
    "pmconv10": "after_attention",
    "pmconv": "before_attention",
    "conv": "coarse",
}


@dataclass(frozen=True)
class Variable:
    """One released tensor.

    Args:
        name: In the TensorFlow snapshot.
        shape: In the snapshot: kernels are (rows, columns, inputs, outputs).
        crcs: Release -> masked CRC-32C of the float32 bytes, as the snapshot's index states it.
    """

    name: str
    shape: tuple[int, ...]
    crcs: dict[str, int]

    @property
    def state_key(self) -> str:
        """The name in the network's `state_dict`."""
        _, layer, *_, kind = self.name.split("/")
        part = next(part for prefix, part in _PARTS.items() if layer.startswith(prefix))
        return f"{part}.{layer}.{'weight' if kind == 'kernel' else kind}"


@cache
def variables() -> tuple[Variable, ...]:
    """The 84 variables in the order of their bytes."""
    text = resources.files("fido").joinpath("weights", "deepfill_v1.json").read_text("utf-8")
    return tuple(
        Variable(name, tuple(shape), {r: int(c, 16) for r, c in zip(RELEASES, crcs, strict=True)})
        for name, shape, *crcs in json.loads(text)["variables"]
    )


def where_to_get(release: str | None) -> str:
    """What a user without the weights has to know: files, origin, sizes, fingerprints, licence."""
    name = release or "imagenet"
    crcs = {v.name: v.crcs[name] for v in variables()}
    first, last = crcs["inpaint_net/conv1/kernel"], crcs["inpaint_net/allconv17/kernel"]
    return (
        f"Get {INDEX_FILE} (3,623 bytes) and {DATA_FILE} ({DATA_BYTES:,} bytes) of the model "
        f"release_{name}_256 from the GitHub project JiahuiYu/generative_inpainting (pretrained "
        "models of release v1.0.0), put both into one folder and set infiller.weights to that "
        f"folder. Fingerprints, checked on loading: masked CRC-32C {first:08x} of conv1/kernel "
        f"and {last:08x} of allconv17/kernel. The weights are licensed CC BY-NC 4.0: "
        "non-commercial use only."
    )


def read_release(path: Path, release: str | None) -> dict[str, Tensor]:
    """The state of `DeepFill` from a TensorFlow snapshot or a converted file.

    Args:
        path: Prefix, index, data file or folder of the snapshot, or a `.safetensors` file.
        release: The release that the weights have to be, bit for bit; None takes any weights of
            this architecture.

    Returns:
        Name -> float32 tensor; kernels are (outputs, inputs, rows, columns).

    Raises:
        FileNotFoundError: If there is no such file; the text says where to get it.
        ValueError: If the file is damaged, is another network or another release.
    """
    if release is not None and release not in RELEASES:
        raise ValueError(f"release must be one of {', '.join(RELEASES)} or null, got {release!r}")
    try:
        state = _load_safetensors(path) if path.suffix == ".safetensors" else _load_bundle(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. {where_to_get(release)}") from error
    expected = {v.state_key: _torch_shape(v.shape) for v in variables()}
    got = {key: tuple(value.shape) for key, value in state.items()}
    if got != expected:
        wrong = sorted(expected.items() ^ got.items())
        raise ValueError(
            f"{path} does not hold the DeepFill v1 generator (84 tensors); first difference: "
            f"{wrong[0][0]} of shape {wrong[0][1]}. DeepFill v2 snapshots have the same names and "
            "other shapes, and do not fit"
        )
    if release is not None:
        _require_release(path, state, release)
    return state


def identify(state: dict[str, Tensor]) -> str | None:
    """The release whose 84 checksums all agree with a network's state, or None."""
    found = [(v.crcs, masked_crc32c(_snapshot_bytes(state[v.state_key]))) for v in variables()]
    matches = [r for r in RELEASES if all(crcs[r] == crc for crcs, crc in found)]
    return matches[0] if matches else None


def convert(source: Path, destination: Path) -> str | None:
    """Write a TensorFlow snapshot as one safetensors file.

    Returns:
        The release that it is, or None if it is none of the released ones.
    """
    if destination.suffix != ".safetensors":
        raise ValueError(f"the converted file must be called *.safetensors, got {destination}")
    state = read_release(source, release=None)
    release = identify(state)
    metadata = {"architecture": "DeepFill v1 generator, BGR in [-1, 1]"}
    if release:
        metadata["source"] = f"JiahuiYu/generative_inpainting v1.0.0, release_{release}_256"
        metadata["licence"] = "CC BY-NC 4.0"
    with atomic_path(destination) as temporary:
        save_file(state, temporary, metadata=metadata)
    return release


def _require_release(path: Path, state: dict[str, Tensor], release: str) -> None:
    actual = identify(state)
    if actual is None:
        raise ValueError(
            f"{path} is none of the released DeepFill v1 models, expected {release}. Set "
            "infiller.release=null for weights from elsewhere. " + where_to_get(release)
        )
    if actual != release:
        raise ValueError(
            f"{path} is the release {actual}, expected {release}; set infiller.release={actual}"
        )


def _load_bundle(path: Path) -> dict[str, Tensor]:
    """The generator's variables; a training run's others (optimiser, critics) are left out."""
    tensors = read_bundle(find_prefix(path))
    return {
        v.state_key: _to_torch_layout(torch.from_numpy(tensors[v.name].astype("f4")))
        for v in variables()
        if v.name in tensors
    }


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape


def _to_torch_layout(value: Tensor) -> Tensor:
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value


def _snapshot_bytes(value: Tensor) -> bytes:
    value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value
    return value.contiguous().numpy().astype("<f4", copy=False).tobytes()
