"""Read TensorFlow checkpoints (V2, "tensor bundle") with numpy alone.

A bundle `snap-0` is two or more files. `snap-0.index` is a sorted table of name -> entry (dtype,
shape, where the bytes are, checksum) in LevelDB's file format; `snap-0.data-00000-of-00001` and
so on, the shards, are the raw bytes. Nothing in either is executed.

Source: the formats' definitions in TensorFlow, `tensorflow/core/protobuf/tensor_bundle.proto` and
`tensorflow/core/lib/io/table_format.txt`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fido.weights.crc32c import masked_crc32c

Array = NDArray[Any]

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # compression type, checksum
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    19: "<f2",
}


@dataclass(frozen=True)
class BundleEntry:
    """Where one tensor's bytes are.

    Args:
        dtype: Of the elements, little-endian.
        shape: Sizes of the axes.
        shard: Number of the data file.
        offset: First byte in that file.
        size: Number of bytes.
        crc: Masked CRC-32C of the bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def find_prefix(path: Path) -> Path:
    """The bundle that `path` means: a prefix, one of its files, or a folder with one bundle.

    Returns:
        The path without `.index` and `.data-...`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a folder holds several.
    """
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) > 1:
            names = ", ".join(file.stem for file in found)
            raise ValueError(f"{path} holds several TensorFlow snapshots ({names}); name one")
        if not found:
            raise FileNotFoundError(f"no TensorFlow snapshot (*.index) in the folder {path}")
        return found[0].with_name(found[0].stem)
    prefix = path.with_name(re.sub(r"(\.index|\.data-\d{5}-of-\d{5})$", "", path.name))
    index = index_path(prefix)
    if not index.is_file():
        raise FileNotFoundError(f"no TensorFlow snapshot at {path}: {index} does not exist")
    return prefix


def index_path(prefix: Path) -> Path:
    """`snap-0` -> `snap-0.index`."""
    return prefix.with_name(prefix.name + ".index")


def data_path(prefix: Path, shard: int, shards: int) -> Path:
    """`snap-0` -> `snap-0.data-00000-of-00001`."""
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")


def read_bundle(prefix: Path) -> dict[str, Array]:
    """All tensors of a bundle, every one checked against its checksum.

    Raises:
        FileNotFoundError: If the index or a data file is missing.
        ValueError: If a file is truncated or damaged, or holds what this reader does not know.
    """
    shards, entries = read_index(index_path(prefix))
    tensors = {}
    contents = [_read_shard(prefix, shard, shards, entries) for shard in range(shards)]
    for name, entry in entries.items():
        raw = contents[entry.shard][entry.offset : entry.offset + entry.size]
        if masked_crc32c(raw) != entry.crc:
            raise ValueError(
                f"{data_path(prefix, entry.shard, shards)} is damaged or does not belong to "
                f"{index_path(prefix).name}: tensor {name} has the checksum "
                f"{masked_crc32c(raw):08x}, the index says {entry.crc:08x}"
            )
        tensors[name] = np.frombuffer(raw, dtype=entry.dtype).reshape(entry.shape)
    return tensors


def _read_shard(prefix: Path, shard: int, shards: int, entries: dict[str, BundleEntry]) -> bytes:
    path = data_path(prefix, shard, shards)
    if not path.is_file():
        raise FileNotFoundError(f"the TensorFlow snapshot {prefix} lacks its data file {path.name}")
    content = path.read_bytes()
    expected = max((e.offset + e.size for e in entries.values() if e.shard == shard), default=0)
    if len(content) < expected:
        raise ValueError(
            f"{path} has {len(content):,} bytes, expected {expected:,}: "
            "the download is incomplete or is not the file itself"
        )
    return content


def read_index(path: Path) -> tuple[int, dict[str, BundleEntry]]:
    """The number of shards and the entry of every tensor, in the order of their names.

    Raises:
        ValueError: If the file is not a tensor bundle index, is damaged, or holds what this
            reader does not know (compression, big-endian data, strings, sliced variables).
    """
    content = path.read_bytes()
    try:
        table = _read_table(content)
        header = _message(table.pop(b"", b""))
        if header.get(2, 0) != 0:
            raise ValueError("the data are big-endian; only little-endian bundles are read")
        shards = header.get(1, 0)
        entries = {key.decode(): _entry(key.decode(), value) for key, value in table.items()}
        for name, entry in entries.items():
            if entry.shard >= shards:
                raise ValueError(f"tensor {name} is in shard {entry.shard} of {shards}")
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a tensor bundle index: {error}") from error
    return shards, entries


class _Cursor:
    """Takes bytes from the front and complains when there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError("it ends in the middle of a record")
        self._at += count
        return self._data[self._at - count : self._at]

    def varint(self) -> int:
        """Seven bits a byte, low bits first; the top bit says that more follow."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("it holds a number of more than 64 bits")

    def integer(self, count: int) -> int:
        """A little-endian integer of `count` bytes."""
        return int.from_bytes(self.take(count), "little")


def _read_table(content: bytes) -> dict[bytes, bytes]:
    """All keys and values of a LevelDB table: footer -> index block -> data blocks."""
    footer = _Cursor(content[-_FOOTER_BYTES:])
    if len(content) < _FOOTER_BYTES or int.from_bytes(content[-8:], "little") != _MAGIC:
        raise ValueError(f"its last bytes are not the format's mark ({len(content):,} bytes long)")
    _read_block(content, footer.varint(), footer.varint())  # the meta index: empty, but checked
    index = _read_block(content, footer.varint(), footer.varint())
    table = {}
    for handle in map(_Cursor, index.values()):
        table.update(_read_block(content, handle.varint(), handle.varint()))
    return table


def _read_block(content: bytes, offset: int, size: int) -> dict[bytes, bytes]:
    """Entries of one block; each key repeats the first `shared` bytes of the one before it."""
    if offset + size + _TRAILER_BYTES > len(content):
        raise ValueError("it ends in the middle of a block")
    block = content[offset : offset + size]
    compression = content[offset + size]
    crc = int.from_bytes(content[offset + size + 1 : offset + size + _TRAILER_BYTES], "little")
    if masked_crc32c(content[offset : offset + size + 1]) != crc:
        raise ValueError(f"the checksum of the block at byte {offset} is wrong: it is damaged")
    if compression:
        raise ValueError(f"it is compressed (type {compression}); only plain bundles are read")
    restarts = int.from_bytes(block[-4:], "little")
    cursor = _Cursor(block[: max(len(block) - 4 * (restarts + 1), 0)])
    entries = {}
    key = b""
    while cursor:
        shared, unshared, length = cursor.varint(), cursor.varint(), cursor.varint()
        key = key[:shared] + cursor.take(unshared)
        entries[key] = cursor.take(length)
    return entries


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a protocol buffer message: int, or bytes for nested messages."""
    cursor = _Cursor(data)
    while cursor:
        number, wire = divmod(cursor.varint(), 8)
        if wire == 0:
            yield number, cursor.varint()
        elif wire == 2:
            yield number, cursor.take(cursor.varint())
        elif wire in (1, 5):
            yield number, cursor.integer(8 if wire == 1 else 4)
        else:
            raise ValueError(f"it holds a protocol buffer field of unknown kind {wire}")


def _message(data: bytes) -> dict[int, Any]:
    return dict(_fields(data))


def _entry(name: str, data: bytes) -> BundleEntry:
    """Decode a BundleEntryProto; absent fields are zero."""
    message = _message(data)
    if 7 in message:
        raise ValueError(f"tensor {name} is saved in slices, which this reader does not join")
    code = message.get(1, 0)
    if code not in _DTYPES:
        raise ValueError(f"tensor {name} has TensorFlow's type {code}, which this reader lacks")
    dtype = np.dtype(_DTYPES[code])
    axes = [value for number, value in _fields(message.get(2, b"")) if number == 2]
    shape = tuple(_message(axis).get(1, 0) for axis in axes)
    size = message.get(5, 0)
    if size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name} of shape {shape} cannot have {size:,} bytes")
    return BundleEntry(dtype, shape, message.get(3, 0), message.get(4, 0), size, message.get(6, 0))
