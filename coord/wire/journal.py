"""What a journal's records hold: pure encodings, and the checksums that guard them.

A checksum covers where a record stands as well as what it holds, so that a record found in
another's place is as bad as one with a flipped bit.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Value

_PLACE: Final = struct.Struct(">QQ")
_SPAN: Final = struct.Struct(">QQQ")
_ENCODER: Final = msgspec.msgpack.Encoder()
_VALUE: Final[msgspec.msgpack.Decoder[Value]] = msgspec.msgpack.Decoder(Value)
_HEADER: Final = msgspec.msgpack.Decoder(Header)


def encode_value(value: Value) -> bytes:
    """Return a slot's value as the log keeps it."""
    return _ENCODER.encode(value)


def decode_value(content: bytes) -> Value:
    """Return the value of a log record; `ValueError` where it is none."""
    return _VALUE.decode(content)


def encode_header(header: Header) -> bytes:
    """Return the acceptor's header as the log keeps it."""
    return _ENCODER.encode(header)


def decode_header(content: bytes) -> Header:
    """Return the header in its record; `ValueError` where it is none."""
    return _HEADER.decode(content)


def record_checksum(slot: int, ballot: Ballot, content: bytes) -> int:
    """Return the checksum of the log's record for ``slot``: 32 bits."""
    place = _PLACE.pack(slot, ballot.number) + ballot.node.encode()
    return zlib.crc32(content, zlib.crc32(place))


def piece_checksum(number: int, content: bytes) -> int:
    """Return the checksum of the ``number``-th piece of an image: 32 bits."""
    return zlib.crc32(content, zlib.crc32(_PLACE.pack(number, len(content))))


def identity_checksum(node: str, cluster: str, incarnation: int, disk: str = "") -> int:
    """Return the checksum of whose journal it is, of which life, on which disk: 32 bits.

    Without ``disk`` it is that of releases in which disks had no names.
    """
    named = (disk,) if disk else ()
    return zlib.crc32(_ENCODER.encode((node, cluster, incarnation, *named)))


def image_checksum(slot: int, first: int, until: int) -> int:
    """Return the checksum of what is known of a whole image: 32 bits."""
    return zlib.crc32(_SPAN.pack(slot, first, until))
