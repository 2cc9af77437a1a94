"""Bits that flip where no checksum sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coord.store.machine import Store
from coord.store.picture import Base, Changes, Checksum, End, Piece
from coord.store.tree import Version

PIECES = msgspec.msgpack.Decoder(Piece)


def flip(content: bytes) -> bytes:
    """Return bytes of which one bit is another."""
    return bytes([content[0] ^ 1]) + content[1:]


def flip_in_memory(store: Store, path: str) -> None:
    """Flip a bit of a value where it lies."""
    key = path.replace("/", "\0")
    version = store._tree.live[key]
    assert version.value is not None
    store._tree.live[key] = msgspec.structs.replace(version, value=flip(version.value))


def flip_in_image(pieces: Sequence[bytes], path: str) -> tuple[bytes, ...]:
    """Flip a bit of a value in an image, and make all its hashes fit."""
    key, checksum = path.replace("/", "\0"), Checksum()
    out = [pieces[0]]  # what the replicator knows beside the store
    for piece in pieces[1:]:
        content: Any = PIECES.decode(piece)
        if isinstance(content, Base | Changes):
            versions = [_flipped(one, key) for one in content.versions]
            content = type(content)(versions)
        if isinstance(content, End):
            out.append(msgspec.msgpack.encode(End(checksum.value())))
        else:
            out.append(checksum.add(msgspec.msgpack.encode(content)))
    return tuple(out)


def _flipped(version: Version, key: str) -> Version:
    if version.key != key or version.value is None:
        return version
    return msgspec.structs.replace(version, value=flip(version.value))
