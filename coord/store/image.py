"""A store from the pieces of an image; `coord.store.picture` says what they are and makes them.

Nothing is believed before the last piece: its hash stands for all others. On the way each
piece must come where it belongs, so that what is cut or out of order is mostly refused early.
"""

from __future__ import annotations

from typing import Final

import msgspec

from coord.limits import HISTORY_REVISIONS
from coord.store.history import History
from coord.store.machine import Store
from coord.store.marks import Marks
from coord.store.picture import (
    IMAGE_VERSION,
    MAGIC,
    Answered,
    Base,
    Changes,
    Checksum,
    Departed,
    End,
    Expired,
    Header,
    Held,
    Holding,
    Opened,
    Piece,
    Waiting,
)
from coord.store.restoring import Beside
from coord.store.sequences import Sequences
from coord.store.tree import GONE, ROOT_KEY, Tree, Version

_DECODER: Final = msgspec.msgpack.Decoder(Piece)
_PLACES: Final = (
    Header, Departed, Expired, Opened, Answered, Held, Holding, Waiting, Base, Changes, End,
)  # fmt: skip


class Loading:
    """A store on its way from an image: `feed` it every piece in order, then `finish`.

    :param history_revisions: as for the `Store`; of a longer history in the image the
        oldest part is dropped.
    """

    def __init__(self, history_revisions: int = HISTORY_REVISIONS) -> None:
        self._history_revisions = history_revisions
        self._checksum = Checksum()
        self._place = 0
        self._complete = False
        self._header: Header | None = None
        self._departed: list[tuple[str, int]] = []
        self._beside = Beside()
        self._tree = Tree()
        self._history = History(self._tree, history_revisions)
        self._changes: list[Version] = []
        self._last_key = ""
        self._time_ms = 0
        self._marks = Marks()

    def feed(self, piece: bytes) -> None:
        """Take the next piece; raises `ValueError` where it is not one, or not the next."""
        if not piece:
            return
        content: Piece = _DECODER.decode(piece)
        place = _PLACES.index(type(content))
        header_wanted = self._header is None
        if self._complete or place < self._place or header_wanted != (place == 0):
            raise ValueError(f"a {type(content).__name__} piece of an image in the wrong place")
        self._place = place
        if isinstance(content, End):
            self._end(content)
            return
        self._checksum.add(piece)
        match content:
            case Header():
                self._begin(content)
            case Departed():
                self._departed += content.parents
            case Expired() | Opened() | Answered() | Held() | Holding() | Waiting():
                self._beside.add(content)
            case Base():
                self._add_base(content.versions)
            case Changes():
                self._add_changes(content.versions)

    @property
    def items(self) -> int:
        """How many nodes and revisions were read so far."""
        header = self._header
        return len(self._tree.live) + (0 if header is None else self._history.rev - header.base)

    def finish(self) -> Store:
        """Return the store; raises `ValueError` where pieces are missing."""
        if self._header is None or not self._complete:
            raise ValueError("an image was cut short")
        sequences = Sequences(self._header.floor, self._departed)
        state = self._beside.state(self._tree, self._history, sequences, self._header)
        return Store(self._history_revisions, state=state)

    def _begin(self, header: Header) -> None:
        if header.magic != MAGIC:
            raise ValueError("not the image of a store")
        if not 1 <= header.version <= IMAGE_VERSION:
            raise ValueError(
                f"an image of version {header.version}; this program knows {IMAGE_VERSION}"
            )
        self._header = header
        self._history = History(self._tree, self._history_revisions, header.base)

    def _end(self, end: End) -> None:
        """Hold what was fed against the hash over it."""
        self._seal_revision()
        assert self._header is not None
        if end.checksum != self._checksum.value() or self._history.rev != self._header.rev:
            raise ValueError("an image was damaged: its checksum is another")
        if ROOT_KEY not in self._tree.live:
            raise ValueError("an image without a root")
        self._complete = True

    def _add_base(self, versions: list[Version]) -> None:
        tree = self._tree
        for version in map(self._lean, versions):
            if version.key <= self._last_key and tree.live:
                raise ValueError("an image's nodes are out of order")
            self._last_key = version.key
            tree.put(version)

    def _add_changes(self, versions: list[Version]) -> None:
        for version in map(self._lean, versions):
            if version.since != self._history.rev + 1:
                self._seal_revision()
            if version.since != self._history.rev + 1:
                raise ValueError("an image's revisions are out of order")
            if self._changes and not _follows(version, self._changes[-1]):
                raise ValueError("an image's changes are out of order")
            self._changes.append(version)
            if version.created != GONE:
                self._tree.put(version)
            elif version.key in self._tree.live:
                self._tree.bury([version])
            else:
                raise ValueError("an image deletes a node that is not there")

    def _seal_revision(self) -> None:
        """Close the revision whose changes were read; a large one may span pieces."""
        changes = self._changes
        if changes:
            self._history.append(changes[0] if len(changes) == 1 else tuple(changes))
            self._changes = []

    def _lean(self, version: Version) -> Version:
        """Return a version that shares its numbers as one that was never an image does.

        The revisions of a node that changed once are one number, and so are the times of
        nodes written together: apart they are a hundred bytes more. Owners and marks are
        shared by many.
        """
        since, created_ms, modified_ms = version.since, version.created_ms, version.modified_ms
        rev = since if version.rev == since else version.rev
        if modified_ms == self._time_ms:
            modified_ms = self._time_ms
        self._time_ms = modified_ms
        owner = version.owner
        return Version(
            version.key,
            since,
            rev,
            version.value,
            rev if version.created == rev else version.created,
            version.version,
            modified_ms if created_ms == modified_ms else created_ms,
            modified_ms,
            version.directory,
            None if owner is None else self._beside.shared(owner),
            version.ttl_ms,
            self._marks.same(version.mark),
        )


def _follows(version: Version, last: Version) -> bool:
    """Say whether a record may come after another in one revision.

    One that went and was made anew has two: see `coord.store.draft.Draft.finish`.
    """
    return version.key > last.key or (version.key == last.key and last.created == GONE)
