"""
Record batches, format 2: what a Kafka broker stores, and what its CRC covers.

    base offset 8 · length 4 · leader epoch 4 · magic 1 · CRC-32C 4 · then, under the CRC,
    attributes 2 · last offset 4 · first time 8 · last time 8 ·
    producer id 8 · producer epoch 2 · first sequence 4 · count 4 · records

The general encoder of kafka-python costs 30 to 60 µs a message, mostly for a CRC-32C in byte steps; this one
costs about 4. No driver library is imported here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

Headers = tuple[tuple[str, bytes], ...]

BATCH_OVERHEAD: Final = 61
"""Bytes of a batch before its records."""

_BEFORE_CRC = struct.Struct(">qiibI")
_AFTER_CRC = struct.Struct(">hiqqqhii")
_LENGTH_COUNTS_FROM = 12  # the length field does not count itself nor the base offset
_MAGIC = 2
_RECORD_OVERHEAD = 31  # attributes, and five numbers of one to ten bytes


class Record(NamedTuple):
    """
    One record on its way to one partition.

    Args:
        partition: where it goes.
        key: of the record.
        value: its body.
        headers: names and values.
        timestamp: Unix milliseconds.
    """

    partition: int
    key: bytes
    value: bytes
    headers: Headers
    timestamp: int


class Stamp(NamedTuple):
    """
    Who wrote a batch: the broker refuses what is older than what the partition holds.

    Args:
        producer: id given by the broker.
        epoch: of this id, 0 to 32767; a lower one than the partition has seen is refused.
        sequence: number of the first record, dense per partition and epoch.
    """

    producer: int
    epoch: int
    sequence: int


class Codec(NamedTuple):
    """A compression: its number in the attributes of a batch, and the function."""

    number: int
    compress: Callable[[bytes], bytes]


def encode_batch(records: Sequence[Record], stamp: Stamp, codec: Codec | None = None) -> bytes:
    """
    One batch of at least one record, as it stands in a produce request.

    Args:
        records: all of one partition, in order.
        codec: compression, or None.
    """
    payload = _encode_records(records)
    attributes = 0
    if codec is not None and len(packed := codec.compress(payload)) < len(payload):
        attributes, payload = codec.number, packed
    times = [record.timestamp for record in records]
    count = len(records)
    covered = _AFTER_CRC.pack(attributes, count - 1, times[0], max(times), *stamp, count) + payload
    length = _BEFORE_CRC.size + len(covered) - _LENGTH_COUNTS_FROM
    return _BEFORE_CRC.pack(0, length, -1, _MAGIC, crc32c(covered)) + covered


def sizes(records: Sequence[Record]) -> list[int]:
    """What each record takes in a batch, in bytes, at most and without compression."""
    found: list[int] = []
    last_headers: Headers | None = None
    fixed = 0
    for _, key, value, headers, _ in records:
        if headers is not last_headers:
            last_headers, fixed = headers, len(_encode_headers(headers)) + _RECORD_OVERHEAD
        found.append(fixed + len(key) + len(value))
    return found


def _encode_records(records: Sequence[Record]) -> bytes:
    first_time = records[0].timestamp
    parts: list[bytes] = []
    add, varint = parts.append, _varint
    last_key = key_part = b""
    last_headers: Headers = ()
    header_part = varint(0)
    for place, (_, key, value, headers, timestamp) in enumerate(records):
        # Neighbours mostly share key and headers; in one stream all do.
        if key != last_key or not key_part:
            last_key, key_part = key, varint(len(key)) + key
        if headers is not last_headers:
            last_headers, header_part = headers, _encode_headers(headers)
        start = b"\0" + varint(timestamp - first_time) + varint(place) + key_part + varint(len(value))
        add(varint(len(start) + len(value) + len(header_part)) + start)
        add(value)
        add(header_part)
    return b"".join(parts)


def _encode_headers(headers: Headers) -> bytes:
    parts = [_varint(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += (_varint(len(encoded)), encoded, _varint(len(value)), value)
    return b"".join(parts)


def _make_varint(number: int) -> bytes:
    """A signed number in zigzag, seven bits a byte, low bits first."""
    rest = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


_VARINTS: Final = tuple(map(_make_varint, range(4096)))


def _varint(number: int) -> bytes:
    return _VARINTS[number] if 0 <= number < 4096 else _make_varint(number)


# CRC-32C (Castagnoli) without a byte loop. Python's integers are polynomials over GF(2) once "+" is "^", and
# their shifts run at memory speed. In the ring of remainders x^685 equals a sum of nine low powers (two more
# equations of this kind follow); squaring such an equation doubles all its exponents. So the high part of a
# long message can be replaced by a few shifted copies of itself further down: the message shrinks by up to
# half a step, and only the last bytes go through the table. Bits are reflected: the highest power comes
# first, and "further down" is a shift to the left.
_EQUATIONS: Final = (
    (685, (0, 3, 11, 15, 19, 23, 25, 26, 31)),
    (6305, (0, 12, 18, 19, 20, 28, 29)),
    (73444, (0, 3, 20, 25, 27)),
)
_LONGEST = 1 << 27  # bits: 16 MiB; a longer batch takes several steps of the same size
_WORTHWHILE = 64  # bits that a step has to save
_ONES = 0xFFFFFFFF
_POLYNOMIAL_REFLECTED = 0x82F63B78


class _Fold(NamedTuple):
    """The equation ``x^power = sum of x^(power - shift)``, and how many bits one step can take away."""

    power: int
    shifts: tuple[int, ...]
    longest: int


def _folds() -> tuple[_Fold, ...]:
    found = []
    ends = [*(power for power, _ in _EQUATIONS[1:]), _LONGEST]
    for (power, low), end in zip(_EQUATIONS, ends, strict=True):
        scale = 1
        while power * scale < end:
            shifts = tuple((power - exponent) * scale for exponent in low)
            found.append(_Fold(power * scale, shifts, min(shifts)))
            scale *= 2
    return tuple(reversed(found))


def _table() -> tuple[int, ...]:
    entries = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (_POLYNOMIAL_REFLECTED if entry & 1 else 0)
        entries.append(entry)
    return tuple(entries)


_FOLDS: Final = _folds()
_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of at least four bytes; about 4 ns a byte."""
    bits = len(data) * 8
    message = int.from_bytes(data, "little") ^ _ONES
    for power, shifts, longest in _FOLDS:
        while bits - power > _WORTHWHILE:
            taken = min(longest, bits - power)
            high = message & ((1 << taken) - 1)
            replacement = 0
            for shift in shifts:
                replacement ^= high << (shift - taken)
            message = message >> taken ^ replacement
            bits -= taken
    padding = -bits % 8  # zeros before the highest power change nothing
    crc = 0
    for byte in (message << padding).to_bytes((bits + padding) // 8, "little"):
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ _ONES
