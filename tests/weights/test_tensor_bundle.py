"""The files in data/tensor_bundle were written by TensorFlow 2.21."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fido.weights.tensor_bundle import data_path, find_prefix, index_path, read_bundle, read_index

WRITTEN = Path(__file__).parents[1] / "fixtures" / "tensor_bundle"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(WRITTEN, tmp_path / "bundle"))


def flip(path, at, bit=0x01):
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("prefix", ["small", "two"])
def test_reads_what_tensorflow_wrote(prefix):
    tensors = read_bundle(WRITTEN / prefix)
    with np.load(WRITTEN / "expected.npz") as expected:
        assert sorted(tensors) == sorted(name.replace("|", "/") for name in expected.files)
        for name in expected.files:
            got = tensors[name.replace("|", "/")]
            assert got.dtype == expected[name].dtype, name
            assert got.shape == expected[name].shape, name
            assert got.tobytes() == expected[name].tobytes(), name


def test_two_shards_are_two_files():
    shards, entries = read_index(WRITTEN / "two.index")
    assert shards == 2
    assert {entry.shard for entry in entries.values()} == {0, 1}


def test_a_flipped_bit_of_any_tensor_is_found_and_named(folder):
    _, entries = read_index(folder / "small.index")
    data = data_path(folder / "small", 0, 1)
    for name, entry in entries.items():
        if entry.size == 0:
            continue
        at = entry.offset + entry.size // 2
        flip(data, at)
        with pytest.raises(ValueError, match=f"damaged.*tensor {name} has the checksum"):
            read_bundle(folder / "small")
        flip(data, at)
    read_bundle(folder / "small")


def test_a_flipped_bit_anywhere_in_the_index_is_found(folder):
    path = folder / "small.index"
    footer = path.stat().st_size - 48
    for at in [*range(0, footer - 13, 7), path.stat().st_size - 1]:
        flip(path, at)
        with pytest.raises(ValueError, match=r"small\.index cannot be read as a tensor bundle"):
            read_index(path)
        flip(path, at)


def test_truncated_data_and_a_pointer_in_place_of_the_index(folder):
    data = data_path(folder / "small", 0, 1)
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"has {size - 1} bytes, expected {size}"):
        read_bundle(folder / "small")
    index = folder / "small.index"
    index.write_bytes(index.read_bytes()[100:])
    with pytest.raises(ValueError, match="cannot be read as a tensor bundle index"):
        read_index(index)
    index.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="not the format's mark"):
        read_index(index)


def test_strings_are_refused_by_name():
    with pytest.raises(ValueError, match="tensor s has TensorFlow's type 7"):
        read_bundle(WRITTEN / "str")


def test_missing_data_file_is_named(folder):
    data_path(folder / "two", 1, 2).unlink()
    with pytest.raises(FileNotFoundError, match=r"two\.data-00001-of-00002"):
        read_bundle(folder / "two")


@pytest.mark.parametrize("name", ["small", "small.index", "small.data-00000-of-00001"])
def test_prefix_from_any_of_its_names(name):
    assert find_prefix(WRITTEN / name) == WRITTEN / "small"
    assert index_path(find_prefix(WRITTEN / name)).is_file()


def test_prefix_from_a_folder(folder):
    with pytest.raises(ValueError, match="several TensorFlow snapshots"):
        find_prefix(folder)
    for other in ("two", "str"):
        index_path(folder / other).unlink()
    assert find_prefix(folder) == folder / "small"
    index_path(folder / "small").unlink()
    with pytest.raises(FileNotFoundError, match="no TensorFlow snapshot"):
        find_prefix(folder)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_prefix(folder / "small")
