import numpy as np
import pytest

from fido.weights.crc32c import crc32c, masked_crc32c


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_published_vectors(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 5119, 5120, 20_001])
def test_lanes_agree_with_the_definition(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == bit_by_bit(data)


def test_every_bit_counts():
    data = bytearray(np.random.default_rng(0).bytes(9000))
    before = crc32c(bytes(data))
    for at in (0, 3, 4, 4500, 8999):
        data[at] ^= 0x10
        assert crc32c(bytes(data)) != before
        data[at] ^= 0x10


def test_masked_value_that_tensorflow_wrote():
    # The empty meta index block of an index file written by TensorFlow 2.21, with its type byte.
    assert masked_crc32c(bytes([0, 0, 0, 0, 1, 0, 0, 0, 0])) == 0xB0A1F2C0
