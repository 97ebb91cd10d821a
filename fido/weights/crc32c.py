"""CRC-32C (Castagnoli), the checksum of TensorFlow's files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Registers = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # bit-reversed
_ONES = 0xFFFFFFFF
_LANES = 1024
_MASK_DELTA = 0xA282EAD8


def _table() -> Registers:
    """(256,) what one byte does to a register."""
    one, polynomial = np.uint32(1), np.uint32(_POLYNOMIAL)
    values: Registers = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> one) ^ ((values & one) * polynomial)
    return values


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes as an unsigned 32-bit integer.

    Long data are cut into equal lanes that numpy advances together. A CRC register is linear in
    what it has read, so that two lanes join as `skip(left) ^ right`, where `skip` is the linear
    map of reading one lane of zeros; `skip` is found by reading zeros into the 32 unit registers.

    Source: RFC 3720, appendix B.4 (definition and test vectors).
    """
    if len(data) < 4 * _LANES:
        register = _ONES
        for byte in data:
            register = int(_TABLE[(register ^ byte) & 0xFF]) ^ (register >> 8)
        return register ^ _ONES
    length = -(-len(data) // _LANES)
    padded = np.zeros((_LANES + 32) * length, dtype=np.uint8)
    start = _LANES * length - len(data)  # zeros in front leave an empty register empty
    padded[start : start + len(data)] = np.frombuffer(data, dtype=np.uint8)
    padded[start : start + 4] ^= 0xFF  # the same as starting with a register of ones
    registers = np.zeros(_LANES + 32, dtype=np.uint32)
    registers[_LANES:] = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for column in np.ascontiguousarray(padded.reshape(-1, length).T):
        registers = _TABLE[(registers & 0xFF) ^ column] ^ (registers >> 8)
    lanes, skip = registers[:_LANES], registers[_LANES:]
    while len(lanes) > 1:
        lanes = _apply(skip, lanes[0::2]) ^ lanes[1::2]
        skip = _apply(skip, skip)
    return int(lanes[0]) ^ _ONES


def _apply(linear: Registers, registers: Registers) -> Registers:
    """XOR of `linear[i]` over the bits i that are set in each register."""
    result = np.zeros_like(registers)
    for bit in range(32):
        result ^= ((registers >> bit) & 1) * linear[bit]
    return result


def masked_crc32c(data: bytes) -> int:
    """The checksum as TensorFlow and LevelDB store it: rotated right by 15, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ONES
