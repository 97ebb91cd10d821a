import dataclasses
import json
import runpy
import sys

import numpy as np
import pytest
import torch
from deepfill_fixture import rule_arrays, write_snapshot
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fido.weights.deepfill as weights
from fido.networks.deepfill import DeepFill
from fido.weights.crc32c import masked_crc32c
from fido.weights.deepfill import (
    DATA_BYTES,
    DATA_FILE,
    INDEX_FILE,
    convert,
    identify,
    read_release,
    variables,
    where_to_get,
)
from scripts.convert_deepfill import main


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return write_snapshot(tmp_path_factory.mktemp("snapshot"))


@pytest.fixture
def released(monkeypatch):
    """As if the fixture's weights were the release "places2"."""
    arrays = rule_arrays()
    table = tuple(
        dataclasses.replace(v, crcs={**v.crcs, "places2": masked_crc32c(arrays[v.name].tobytes())})
        for v in variables()
    )
    monkeypatch.setattr(weights, "variables", lambda: table)


def test_names_and_shapes_are_the_networks():
    state = DeepFill().state_dict()
    assert len(variables()) == 84
    assert {v.state_key for v in variables()} == set(state)
    for v in variables():
        value = state[v.state_key]
        assert tuple(value.permute(2, 3, 1, 0).shape if value.ndim == 4 else value.shape) == v.shape
    assert sum(4 * int(np.prod(v.shape)) for v in variables()) == DATA_BYTES


def test_round_trip_is_bit_exact(snapshot, tmp_path):
    # The index with its checksums is TensorFlow's own.
    converted = tmp_path / "deepfill.safetensors"
    assert convert(snapshot, converted) is None
    arrays = rule_arrays()
    for state in (
        read_release(snapshot, None),
        read_release(converted, None),
        load_file(converted),
    ):
        assert len(state) == 84
        for v in variables():
            value = state[v.state_key]
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value
            assert value.contiguous().numpy().tobytes() == arrays[v.name].tobytes(), v.name
    network = DeepFill()
    network.load_state_dict(read_release(converted, None))


@pytest.mark.parametrize("name", [INDEX_FILE, DATA_FILE, "snap-0"])
def test_snapshot_by_any_of_its_names(snapshot, name):
    assert len(read_release(snapshot / name, None)) == 84


def test_one_changed_byte_is_refused(snapshot, tmp_path):
    folder = write_snapshot(tmp_path / "damaged")
    data = bytearray((folder / DATA_FILE).read_bytes())
    data[10_000_000] ^= 1
    (folder / DATA_FILE).write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"damaged.*tensor inpaint_net/.* has the checksum"):
        read_release(folder, None)


def test_every_tensor_of_another_release_is_refused(tmp_path):
    arrays = {name: array + np.float32(1e-3) for name, array in rule_arrays().items()}
    folder = write_snapshot(tmp_path, arrays)
    with pytest.raises(ValueError, match=r"does not belong to snap-0\.index"):
        read_release(folder, None)
    kernels = {v.name: v.crcs for v in variables()}
    for name, array in arrays.items():
        assert masked_crc32c(array.tobytes()) not in kernels[name].values()


def test_incomplete_download_says_what_size_it_should_have(tmp_path):
    folder = write_snapshot(tmp_path)
    data = (folder / DATA_FILE).read_bytes()
    (folder / DATA_FILE).write_bytes(data[:1000])
    with pytest.raises(ValueError, match="has 1,000 bytes, expected 14,406,168"):
        read_release(folder, None)


def test_release_is_recognised_in_both_formats(snapshot, released, tmp_path):
    converted = tmp_path / "deepfill.safetensors"
    assert convert(snapshot, converted) == "places2"
    with safe_open(converted, framework="pt") as file:
        assert file.metadata()["licence"] == "CC BY-NC 4.0"
        assert "release_places2_256" in file.metadata()["source"]
    for path in (snapshot, converted):
        assert identify(read_release(path, "places2")) == "places2"
        with pytest.raises(ValueError, match=r"set infiller\.release=places2"):
            read_release(path, "imagenet")


def test_weights_of_no_release(snapshot):
    with pytest.raises(ValueError, match="none of the released DeepFill v1 models") as caught:
        read_release(snapshot, "imagenet")
    assert "infiller.release=null" in str(caught.value)
    with pytest.raises(ValueError, match="release must be one of imagenet, places2, celeba"):
        read_release(snapshot, "places")


def test_almost_a_release_is_none(snapshot, released):
    state = read_release(snapshot, "places2")
    state["decoder.allconv12.bias"] = state["decoder.allconv12.bias"] + 1
    assert identify(state) is None


def test_another_network_is_refused(tmp_path):
    state = {name: torch.zeros_like(value) for name, value in DeepFill().state_dict().items()}
    state["coarse.conv1.weight"] = torch.zeros(48, 5, 5, 5)
    path = tmp_path / "v2.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match=r"DeepFill v1 generator.*coarse.conv1.weight"):
        read_release(path, None)


def test_missing_files_say_where_to_get_them(tmp_path):
    for path in (tmp_path, tmp_path / "snap-0", tmp_path / "x.safetensors"):
        with pytest.raises(FileNotFoundError, match=DATA_FILE) as caught:
            read_release(path, "imagenet")
        assert str(path) in str(caught.value)


def test_what_a_user_is_told():
    for release, first, last in (
        ("imagenet", "2d6bbc15", "636b8c73"),
        ("places2", "ae9814b0", "b2a84206"),
        ("celeba", "dbfc7be0", "1f42a799"),
    ):
        text = where_to_get(release)
        for word in (
            INDEX_FILE, DATA_FILE, "14,406,168", "JiahuiYu/generative_inpainting", "v1.0.0",
            f"release_{release}_256", "infiller.weights", "CC BY-NC 4.0", "non-commercial",
            first, last,
        ):  # fmt: skip
            assert word in text


def test_command_line(snapshot, released, tmp_path, capsys, monkeypatch):
    output = tmp_path / "deepfill.safetensors"
    main([str(snapshot), str(output)])
    assert f"infiller.weights={output} infiller.release=places2" in capsys.readouterr().out
    for arguments, message in (
        ([str(snapshot), str(tmp_path / "deepfill.pt")], "must be called *.safetensors"),
        ([str(tmp_path), str(output)], DATA_FILE),
    ):
        with pytest.raises(SystemExit) as failed:
            main(arguments)
        assert failed.value.code == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["convert_deepfill", "--help"])
    monkeypatch.delitem(sys.modules, "scripts.convert_deepfill")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("scripts.convert_deepfill", run_name="__main__")
    assert caught.value.code == 0
    assert "python scripts/convert_deepfill.py" in capsys.readouterr().out


def test_table_is_compact():
    text = weights.resources.files("fido").joinpath("weights", "deepfill_v1.json").read_text()
    assert json.loads(text)["columns"] == ["name", "shape", "imagenet", "places2", "celeba"]
