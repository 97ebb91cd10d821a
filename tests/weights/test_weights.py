import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fido import weights
from scripts.pack_weights import pack


@pytest.fixture
def folder(tmp_path):
    layer = nn.Linear(3, 2)
    save_file({k: v.half() for k, v in layer.state_dict().items()}, tmp_path / "toy.safetensors")
    content = (tmp_path / "toy.safetensors").read_bytes()
    entry = {
        "file": "toy.safetensors",
        "sha256": weights.hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "network": "torch.nn.Linear",
        "card": "docs/models/toy.md",
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"toy": entry}))
    return tmp_path


def test_shipped_weights_go_into_the_network_as_float32(folder):
    layer = nn.Linear(3, 2)
    weights.load(layer, "toy", folder)
    state = weights.read("toy", folder)
    assert layer.weight.dtype == torch.float32
    assert torch.equal(layer.weight, state["weight"])
    other = nn.Linear(3, 2)
    weights.load(other, folder / "toy.safetensors", folder)  # by path, as a user's own file
    assert torch.equal(other.weight, layer.weight)


@pytest.mark.parametrize("damage", ["changed", "cut off"])
def test_damaged_files_are_refused(folder, damage):
    path = folder / "toy.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[-1] ^= 1
    else:
        del content[-1]
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="sha256"):
        weights.load(nn.Linear(3, 2), "toy", folder)


def test_errors_say_what_was_expected(folder, tmp_path):
    with pytest.raises(ValueError, match="shipped: toy"):
        weights.read("other", folder)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        weights.read("other.safetensors", folder)
    with pytest.raises(ValueError, match=r"\.safetensors"):
        weights.read("other.ckpt", folder)
    with pytest.raises(ValueError, match=r"bias: got \(2,\), expected \(3,\)"):
        weights.load(nn.Linear(3, 3), "toy", folder)
    (folder / "toy.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="incomplete"):
        weights.find("toy", folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        weights.find("toy", folder)


def test_every_shipped_file_is_whole_small_and_loads():
    for name, entry in weights.manifest().items():
        path = weights.find(name)
        assert path.stat().st_size == entry.bytes <= 12_000_000
        assert all(value.isfinite().all() for value in weights.read(name).values())


def test_every_weights_file_is_in_the_manifest():
    listed = {entry.file for entry in weights.manifest().values()}
    assert {path.name for path in weights.FOLDER.glob("*.safetensors")} == listed


def test_packed_weights_are_shipped_in_half_precision(folder, tmp_path):
    layer = nn.Linear(4, 4)
    save_file(layer.state_dict(), tmp_path / "ema.safetensors")
    pack("new", tmp_path / "ema.safetensors", "torch.nn.Linear", folder)
    assert set(weights.manifest(folder)) == {"toy", "new"}
    state = weights.read("new", folder)
    assert torch.equal(state["weight"], layer.weight.detach().half().float())
    layer.weight.data[0, 0] = 1e6
    save_file(layer.state_dict(), tmp_path / "ema.safetensors")
    with pytest.raises(ValueError, match="half precision"):
        pack("new", tmp_path / "ema.safetensors", "torch.nn.Linear", folder)


@pytest.mark.parametrize("content", [b"", b"no weights", "cut"])
def test_damaged_files_of_weights_are_named(tmp_path, content):
    path = tmp_path / "net.safetensors"
    whole = weights.find("ca").read_bytes()
    path.write_bytes(whole[:20000] if content == "cut" else content)
    with pytest.raises(ValueError, match=r"net\.safetensors is damaged or no safetensors file"):
        weights.read(path)
