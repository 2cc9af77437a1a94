"""What the bytes of a slot's value mean: a stamp, then a batch of commands.

The node that takes requests encodes a batch once; the leader puts eight bytes of time in
front and never looks inside. ``b""`` is the value that does nothing.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from coord.commands import Caller, Write

_STAMP: Final = struct.Struct(">Q")


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Writes of one node in the order in which they take effect.

    ``origin`` took them, in its ``incarnation``-th life; its batches are numbered from 1
    without gap and are applied in that order, each at most once. ``callers`` says who asked: so
    many of the commands, from the first on, for each caller; what it leaves over is the cluster's
    own word, or of a log of before callers were told.
    """

    origin: str
    incarnation: int
    number: int
    commands: tuple[Write, ...]
    callers: tuple[tuple[int, Caller], ...] = ()


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """Return ``batch`` as the bytes that travel and are kept."""
    return _ENCODER.encode(batch)


def stamp(batch: bytes, time_ms: int) -> bytes:
    """Return the value of a slot: an encoded batch and when it was proposed."""
    return _STAMP.pack(time_ms) + batch


def decode(value: bytes) -> tuple[int, Batch]:
    """Return the time and the batch of a slot's value; `ValueError` where it is none."""
    if len(value) < _STAMP.size:
        raise ValueError("a slot's value begins with eight bytes of time")
    return _STAMP.unpack_from(value)[0], _DECODER.decode(memoryview(value)[_STAMP.size :])
