"""The door of the store: writes in, revisions out; reads, watches and images of any moment.

A turn of whoever owns a store::

    for each batch:      apply(write, time) ..., then seal()
    once at the end:     publish(), then wake() of each watch that it returned

``seal`` folds the batch into the digest and drops a little of what history no longer keeps, so
batches must be cut alike on every node. Nobody is called inside any of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from coord.commands import CLUSTER, Caller, Read, Write
from coord.limits import HISTORY_REVISIONS, PICTURE_REVISIONS_MAX
from coord.paths import Glob
from coord.results import LockRow, Result, Rows, SessionRow
from coord.store.access import Access
from coord.store.history import History, Pins
from coord.store.news import News, Span
from coord.store.picture import IMAGE_VERSION, MAGIC, Header, Picture
from coord.store.reads import Reader
from coord.store.sequences import Sequences
from coord.store.tree import Tree, empty_root
from coord.store.views import Pinned
from coord.store.watches import Watch, Watches
from coord.store.writes import Outcome, Writer

_DIGEST_BYTES: Final = 16
_TRIM_CHANGES_MIN: Final = 256
_TRIM_CHANGES_PER_REVISION: Final = 4
"""How fast old history is dropped: faster than new comes, and never much at once."""


class State(msgspec.Struct, frozen=True):
    """What an image brings back."""

    tree: Tree
    history: History
    sequences: Sequences
    digest: bytes


def _empty(history_revisions: int) -> State:
    tree = Tree()
    tree.put(empty_root())
    return State(tree, History(tree, history_revisions), Sequences(), bytes(_DIGEST_BYTES))


class Store:
    """The tree of one node, all its kept revisions, and those who watch it.

    :param history_revisions: how many revisions, the present one among them, can be read and
        watched from.
    :param picture_revisions: how many more a walk may fall behind before it is given up.
    """

    def __init__(
        self,
        history_revisions: int = HISTORY_REVISIONS,
        *,
        picture_revisions: int = PICTURE_REVISIONS_MAX,
        state: State | None = None,
    ) -> None:
        state = state or _empty(history_revisions)
        self._tree = state.tree
        self._history = state.history
        self._sequences = state.sequences
        self._chain = state.digest
        self._sealed = self._history.rev
        self._picture_revisions = picture_revisions
        self._rows = Pins()
        self._images = Pins()
        self._access = Access(self._tree.live)
        self._watches = Watches(self._history, self._access)
        self._encode = msgspec.msgpack.Encoder().encode
        self._writes = Writer(self._tree, self._history, self._sequences).by_type
        self._reader = Reader(self._tree, self._history, self._rows, self._access)
        self._reads = self._reader.by_type

    @property
    def rev(self) -> int:
        """The newest revision; 0 of a store that is empty."""
        return self._history.rev

    @property
    def horizon(self) -> int:
        """The oldest revision that can be read and watched from."""
        return self._history.horizon

    @property
    def digest(self) -> str:
        """A hash over all that ever changed, up to the last `seal`; hexadecimal."""
        return self._chain.hex()

    @property
    def watch_count(self) -> int:
        """How many watches are open."""
        return self._watches.count

    @property
    def node_count(self) -> int:
        """How many nodes there are, the root and those without a value among them."""
        return len(self._tree.live)

    @property
    def lock_count(self) -> int:
        """How many locks are held, or kept from others after their holder was lost."""
        return len(self.locks())

    def describe(self) -> str:
        """Return the store in one line."""
        pictures = len(self._rows) + len(self._images)
        return (
            f"rev {self.rev} from {self.horizon} nodes {self.node_count}"
            f" watches {self.watch_count} pictures {pictures} digest {self.digest[:8]}"
        )

    @property
    def timeouts_ms(self) -> Mapping[str, int]:
        """The open sessions and their timeouts."""
        return {}

    def news(self) -> list[News]:
        """Return what there is to tell since the last call, in order."""
        return []

    def spans(self) -> Iterator[Span]:
        """Yield every span of time under way; for the owner of a store that was just loaded."""
        return iter(())

    def nodes_of(self, session: str) -> int:
        """Return how many nodes a session owns: what its end will cost."""
        return 0

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first."""
        return []

    def locks(self) -> list[LockRow]:
        """Return the locks in path order."""
        return []

    def place(self, path: str, session: str) -> int | None:
        """Return the number of a session's place in the queue of a lock, or None."""
        return None

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Return how what matches now differs from what was there at a revision long gone.

        A `Row` for each node whose value changed since, the path of each whose value did not.

        :raises Denied: when the caller may read nothing that matches.
        """
        return self._reader.difference(glob, after_rev, caller)

    def apply(self, write: Write, time_ms: int, caller: Caller = CLUSTER) -> Outcome:
        """Do one write, stamped with the time it was proposed at.

        An error is returned, not raised; a refused write makes no revision.
        """
        return self._writes[type(write)](write, time_ms, caller)

    def seal(self) -> None:
        """End a batch: fold its changes into the digest, let go of some old history."""
        changes = self._history.after(self._sealed)
        if changes:
            encoded = self._encode(changes)
            self._chain = hashlib.blake2b(self._chain + encoded, digest_size=_DIGEST_BYTES).digest()
            self._sealed = self.rev
        horizon = self.horizon
        self._rows.void(horizon - self._picture_revisions)
        self._history.trim(
            self._images.oldest(self._rows.oldest(horizon)),
            _TRIM_CHANGES_MIN + _TRIM_CHANGES_PER_REVISION * len(changes),
        )

    def publish(self) -> list[Watch]:
        """Hand what happened to the watches; returns those to wake, each once."""
        return self._watches.publish()

    def answer(self, read: Read, caller: Caller = CLUSTER) -> Result:
        """Answer from the store as it stands, or stood; an error is returned, not raised.

        `Rows` hold history until they end or are closed.
        """
        return self._reads[type(read)](read, caller)

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
    ) -> Watch:
        """Begin to watch what happens after ``after_rev``, or after now.

        A watch that begins in the past is ready at once, and ``publish`` will not say so.
        ``after_rev`` may be in the future. Raises `TooLate`, naming the oldest revision to go
        on from, where ``after_rev`` is older than that, and `Denied` where the caller may read
        nothing that matches.
        """
        return self._watches.add(glob, after_rev, wake, caller)

    def picture(self) -> Picture:
        """Begin an image of all that can be read now; only between batches."""
        assert self._sealed == self.rev, "an image is of sealed batches"
        history, base = self._history, self.horizon
        header = Header(MAGIC, IMAGE_VERSION, self.rev, base, self._chain, self._sequences.floor)
        pinned = Pinned(self._tree, self._images, base)
        return Picture(header, self._sequences, pinned, history.records(base + 1, self.rev))
