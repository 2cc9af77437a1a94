"""A whole store as bytes, made a piece at a time; `coord.store.image` reads them back.

An image is a picture pinned at the moment it was asked for, with the history that was kept
then, so that a store made from it serves the same past::

    Header     version, revision, base, digest
    Departed   parents that are gone and their sequential numbers       any number of pieces
    Base       the nodes as they were at revision ``base``, in path order       "
    Changes    every record of change after ``base``, by revision, then path    "
    End        a hash over all pieces before it

``base`` is the horizon. Equal stores make equal images: where a piece ends follows from what
it holds. While an image is made the store goes on; where much of that lies between two nodes
of the image, an empty piece gives way to others. Empty pieces mean nothing and may be left out.

Each piece is one msgpack array that begins with its tag. A tag is never given to anything
else, fields are only added at the end, and a greater version in the header is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias, TypeVar

import msgspec

from coord.store.sequences import Sequences
from coord.store.tree import ROOT_KEY, Version
from coord.store.views import Pinned

IMAGE_VERSION: Final = 2
MAGIC: Final = "coord store"
_PIECE_BYTES_SOFT: Final = 56 * 1024
_ITEM_BYTES: Final = 112
"""What a record takes beside its key, value and author, at most."""
_KEYS_PER_SPAN: Final = 128
_KEYS_UNTIL_PAUSE: Final = 2048


class Header(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What the image is of: the store at ``rev``, with the history since ``base``.

    ``floor`` is `Sequences.floor`, ``digest`` the hash chain's value.
    """

    magic: str
    version: int
    rev: int
    base: int
    digest: bytes
    floor: int


class Departed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Parents that are gone, with the last number that each gave; in the order they went."""

    parents: tuple[tuple[str, int], ...]


class Base(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Nodes as they were at the base."""

    versions: list[Version]


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Records of change, tombstones among them."""

    versions: list[Version]


class End(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The last piece."""

    checksum: bytes


_Item = TypeVar("_Item")

Piece: TypeAlias = Header | Departed | Base | Changes | End

_ENCODER: Final = msgspec.msgpack.Encoder()


class Checksum:
    """A hash over pieces that also knows where each one ends."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=32)

    def add(self, piece: bytes) -> bytes:
        """Take in a piece, and return it."""
        self._hash.update(len(piece).to_bytes(8, "big"))
        self._hash.update(piece)
        return piece

    def value(self) -> bytes:
        """Return the hash over all pieces so far."""
        return self._hash.digest()


class Picture:
    """A store's image in the making; `close` lets go of the history that it needs.

    :param base: the tree pinned at the base.
    :param changes: the records after the base, up to the header's revision.
    """

    def __init__(
        self, header: Header, sequences: Sequences, base: Pinned, changes: Iterable[Version]
    ) -> None:
        self.rev = header.rev
        departed = sequences.gone()
        self._pieces = base.held(_encoded(header, departed, base, changes))

    def pieces(self) -> Iterator[bytes]:
        """Yield the image: pieces of 64 KiB but for large values, milliseconds apart at most.

        There is one such iterator, however often it is asked for. An empty piece says only
        that others should have their turn.
        """
        return (piece for piece in self._pieces if piece is not None)

    def close(self) -> None:
        """Make no more pieces; safe to call more than once."""
        close: Callable[[], None] | None = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _encoded(
    header: Header,
    departed: Iterable[tuple[str, int]],
    base: Pinned,
    changes: Iterable[Version],
) -> Iterator[bytes]:
    checksum = Checksum()
    encode = _ENCODER.encode
    yield checksum.add(encode(header))
    for parents in _cut(departed, lambda one: len(one[0])):
        yield checksum.add(encode(Departed(tuple(parents))))
    for versions in _cut(_nodes(base), _size_bytes):
        yield checksum.add(encode(Base(versions))) if versions else b""
    for versions in _cut(changes, _size_bytes):
        yield checksum.add(encode(Changes(versions)))
    yield encode(End(checksum.value()))


def _nodes(base: Pinned) -> Iterator[Version | None]:
    """Yield the nodes at the base, and ``None`` after a long stretch of newer ones."""
    start, barren = ROOT_KEY, 0
    at, rev = base.tree.at, base.rev
    while keys := base.span(start, "\x01", _KEYS_PER_SPAN):
        start = keys[-1] + "\0"
        barren += len(keys)
        for key in keys:
            version = at(key, rev)
            if version is not None:
                barren = 0
                yield version
        if barren > _KEYS_UNTIL_PAUSE:
            barren = 0
            yield None


def _size_bytes(version: Version) -> int:
    value = version.value
    named = len(version.key) + len(version.mark.author)
    return named if value is None else named + len(value)


def _cut(
    items: Iterable[_Item | None], size_bytes: Callable[[_Item], int]
) -> Iterator[list[_Item]]:
    """Yield ``items`` in lists that fit into a piece; an empty list for ``None``."""
    part: list[_Item] = []
    total_bytes = 0
    for item in items:
        if item is None:
            yield []
            continue
        item_bytes = _ITEM_BYTES + size_bytes(item)
        if part and total_bytes + item_bytes > _PIECE_BYTES_SOFT:
            yield part
            part, total_bytes = [], 0
        part.append(item)
        total_bytes += item_bytes
    if part:
        yield part
