"""A whole store as bytes, made a piece at a time; `coord.store.image` reads them back.

An image is a picture pinned at the moment it was asked for, with the history that was kept
then, so that a store made from it serves the same past::

    Header     version, revision, base, digest
    Departed   parents that are gone and their sequential numbers       any number of pieces
    Expired    sessions that expired last                                       "
    Opened     sessions that are open, oldest first                             "
    Answered   what they were answered                                          "
    Held       locks: what their nodes were before                              "
    Holding    who holds them, in order of tokens                               "
    Waiting    who waits for them, in order of numbers                          "
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
from itertools import chain
from typing import Final, TypeAlias, TypeVar

import msgspec

from coord.store.locks import Before, Holder, Place
from coord.store.sessions import AnswersPicture, Identity
from coord.store.state import State
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

    ``floor`` is `Sequences.floor`, ``digest`` the hash chain's value, ``number`` that of the
    last place in a queue. ``is_inherited`` is `coord.store.machine.Store.is_inherited`.
    """

    magic: str
    version: int
    rev: int
    base: int
    digest: bytes
    floor: int
    number: int = 0
    is_inherited: bool = False


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


class Expired(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Ids of sessions that expired, the one that did so first in front."""

    sessions: list[str]


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Sessions that are open."""

    sessions: list[Identity]


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Session, word and answer, as `coord.store.answers` keeps it."""

    answers: list[tuple[str, str, bytes]]


class Held(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The keys of locks, in order, and what their nodes were before."""

    locks: list[tuple[str, Before | None]]


class Holding(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The keys of locks, and each of their holders."""

    holders: list[tuple[str, Holder]]


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The keys of locks, and each place in their queues."""

    places: list[tuple[str, Place]]


_Item = TypeVar("_Item")

Piece: TypeAlias = (
    Header | Departed | Expired | Opened | Answered | Held | Holding | Waiting
    | Base | Changes | End
)  # fmt: skip

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
    """

    def __init__(self, state: State, base: Pinned) -> None:
        history = state.history
        self.rev = history.rev
        header = Header(
            MAGIC, IMAGE_VERSION, history.rev, base.rev, state.digest, state.sequences.floor,
            state.locks.number, state.is_inherited,
        )  # fmt: skip
        self._answers = state.sessions.picture()
        beside = _beside(state, self._answers)
        changes = history.records(base.rev + 1, history.rev)
        self._pieces = base.held(_encoded(header, beside, base, changes))

    def pieces(self) -> Iterator[bytes]:
        """Yield the image: pieces of 64 KiB but for large values, milliseconds apart at most.

        There is one such iterator, however often it is asked for. An empty piece says only
        that others should have their turn.
        """
        return (piece for piece in self._pieces if piece is not None)

    def close(self) -> None:
        """Make no more pieces; safe to call more than once."""
        self._answers.close()
        close: Callable[[], None] | None = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _encoded(
    header: Header,
    beside: Iterator[Piece],
    base: Pinned,
    changes: Iterable[Version],
) -> Iterator[bytes]:
    checksum = Checksum()
    encode = _ENCODER.encode
    yield checksum.add(encode(header))
    for piece in beside:
        yield checksum.add(encode(piece))
    for versions in _cut(_nodes(base), _size_bytes):
        yield checksum.add(encode(Base(versions))) if versions else b""
    for versions in _cut(changes, _size_bytes):
        yield checksum.add(encode(Changes(versions)))
    yield encode(End(checksum.value()))


def _beside(state: State, answers: AnswersPicture) -> Iterator[Piece]:
    """Return the pieces of what stands beside the tree, as it is at this moment.

    All but the answers is taken down now: nothing here changes but by being replaced.
    """
    departed, expired = state.sequences.gone(), state.sessions.expired()
    opened = [one.identity for one in state.sessions.live.values()]
    locks = list(state.locks.in_order())
    held = [(lock.key, lock.before) for lock in locks]
    holders = [(lock.key, one) for lock in locks for one in lock.holders.values()]
    places = [(lock.key, one) for lock in locks for one in lock.queue.values()]
    return chain(
        (Departed(tuple(part)) for part in _cut(departed, lambda one: len(one[0]))),
        map(Expired, _cut(expired, len)),
        map(Opened, _cut(opened, lambda one: 64 + len(one.author))),
        map(Answered, _cut(answers.rows(), lambda one: sum(map(len, one)))),
        map(Held, _cut(held, lambda one: len(one[0]) + _before_bytes(one[1]))),
        map(Holding, _cut(holders, lambda one: len(one[0]) + _holder_bytes(one[1]))),
        map(Waiting, _cut(places, lambda one: len(one[0]) + _holder_bytes(one[1]))),
    )


def _before_bytes(before: Before | None) -> int:
    return 0 if before is None else len(before.value)


def _holder_bytes(one: Holder | Place) -> int:
    return len(one.author) + len(one.value or b"")


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
