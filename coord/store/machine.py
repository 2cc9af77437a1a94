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

from coord.commands import CLUSTER, Caller, Outcome, Read, Resume, Write
from coord.errors import CoordError
from coord.limits import HISTORY_REVISIONS, PICTURE_REVISIONS_MAX
from coord.paths import Glob, order_key
from coord.results import LockRow, Result, Rows, SessionRow
from coord.store.answers import Answer
from coord.store.granting import Granting
from coord.store.history import Pins
from coord.store.lasting import Lasting
from coord.store.lives import Lives
from coord.store.news import News, Span
from coord.store.picture import Picture
from coord.store.reads import Reader
from coord.store.standing import Standing
from coord.store.state import State
from coord.store.views import Pinned
from coord.store.watches import Watch, Watches
from coord.store.writes import Writer

_DIGEST_BYTES: Final = 16
_TRIM_CHANGES_MIN: Final = 256
_TRIM_CHANGES_PER_REVISION: Final = 4
"""How fast old history is dropped: faster than new comes, and never much at once."""


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
        self._picture_revisions = picture_revisions
        self._encode = msgspec.msgpack.Encoder().encode
        self._begin(state or State.empty(history_revisions))
        self._watches = Watches(self._history, self._state.access)

    def _begin(self, state: State) -> None:
        """Be what ``state`` is."""
        self._state = state
        self._tree = state.tree
        self._history = state.history
        self._sealed = self._history.rev
        self._rows = Pins()
        self._images = Pins()
        self._surveys = Pins()
        granting = Granting(state)
        self._lives = Lives(state, granting)
        self._writes = Writer(state, granting).by_type | self._lives.by_type
        self._standing = standing = Standing(state)
        self._lasting = lasting = Lasting(state.tree, state.locks.live.get)
        self._reader = Reader(
            self._tree, self._history, self._rows, state.access, standing.holding, lasting
        )
        self._reads = self._reader.by_type | {
            Outcome: standing.outcome,
            Resume: state.sessions.resume,
        }

    def become(self, other: Store) -> None:
        """Be what ``other`` is, the same store further on, which must not be used any more.

        Who watches goes on watching; walks and pictures under way are of the store as it was.
        """
        assert other.rev >= self.rev, "a store never goes back"
        self._begin(other._state)
        self._watches.move(self._history, self._state.access, self._lasting)

    def let_go(self) -> None:
        """Hold nothing any more: nobody asks this store again, though some may hold it."""
        self._begin(State.empty(1))
        self._watches = Watches(self._history, self._state.access)

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
        return self._state.digest.hex()

    @property
    def is_inherited(self) -> bool:
        """Whether it comes, in part, from before digests covered what they cover now.

        Equal stores of such a past may have unequal digests: they are not held against each other.
        """
        return self._state.is_inherited

    def inherit(self) -> None:
        """Take note that something of that past was applied; for good, images included."""
        self._state.is_inherited = True

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
        return len(self._state.locks.live)

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
        return self._state.sessions.timeouts_ms

    def news(self) -> list[News]:
        """Return what there is to tell since the last call, in order."""
        news = self._state.news
        told = news.copy()
        news.clear()
        return told

    def spans(self) -> Iterator[Span]:
        """Yield every span of time under way; for the owner of a store that was just loaded."""
        return iter(self._lives.spans())

    def nodes_of(self, session: str) -> int:
        """Return how many nodes a session owns: what its end will cost."""
        found = self._state.sessions.live.get(session)
        return 0 if found is None else len(found.nodes) + len(found.locks)

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first."""
        return self._standing.sessions()

    def locks(self) -> list[LockRow]:
        """Return the locks in path order."""
        return self._standing.locks()

    def place(self, path: str, session: str) -> int | None:
        """Return the number of a session's place in the queue of a lock, or None."""
        found = self._state.sessions.live.get(session)
        return None if found is None else found.waits.get(order_key(path))

    def token(self, path: str, session: str) -> int | None:
        """Return the token under which a session holds a lock, or None."""
        lock = self._state.locks.live.get(order_key(path))
        holder = None if lock is None else lock.holder(session)
        return None if holder is None else holder.token

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Return how what matches now differs from what was there at a revision long gone.

        A `Row` for each node whose value changed since, the path of each whose value did not.

        :raises Denied: when the caller may read nothing that matches.
        """
        return self._reader.difference(glob, after_rev, caller)

    def apply(self, write: Write, time_ms: int, caller: Caller = CLUSTER) -> Answer:
        """Do one write, stamped with the time it was proposed at.

        An error is returned, not raised; a refused write makes no revision.
        """
        return self._writes[type(write)](write, time_ms, caller)

    def seal(self) -> None:
        """End a batch: fold its changes into the digest, let go of some old history."""
        changes, notes = self._history.after(self._sealed), self._state.notes
        if changes or notes:
            digest = hashlib.blake2b(self._state.digest, digest_size=_DIGEST_BYTES)
            if changes:
                digest.update(self._encode(changes))
            if notes:
                digest.update(self._encode(notes))
                notes.clear()
            self._state.digest = digest.digest()
            self._sealed = self.rev
        horizon = self.horizon
        self._rows.void(horizon - self._picture_revisions)
        self._surveys.void(horizon)
        self._history.trim(
            self._images.oldest(self._rows.oldest(horizon)),
            _TRIM_CHANGES_MIN + _TRIM_CHANGES_PER_REVISION * len(changes),
        )

    def publish(self) -> list[Watch]:
        """Hand what happened to the watches; returns those to wake, each once."""
        return self._watches.publish()

    def end_watches(self, problem: CoordError) -> None:
        """End all watches: they have nothing more to tell but ``problem``.

        Those to wake for it are among those that `publish` returns next.
        """
        self._watches.end(problem)

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
        *,
        lasting: bool = False,
    ) -> Watch:
        """Begin to watch what happens after ``after_rev``, or after now.

        A watch that begins in the past is ready at once, and ``publish`` will not say so.
        ``after_rev`` may be in the future. Raises `TooLate`, naming the oldest revision to go
        on from, where ``after_rev`` is older than that, and `Denied` where the caller may read
        nothing that matches. ``lasting`` as in `coord.commands.Walk`.
        """
        watch = self._watches.add(glob, after_rev, wake, caller)
        if lasting:
            watch.lasting = self._lasting
        return watch

    def picture(self) -> Picture:
        """Begin an image of all that can be read now; only between batches."""
        return self._picture(self._images, self.horizon)

    def survey(self) -> Picture:
        """Begin an image of the present alone; only between batches.

        Equal stores make equal ones, however much history either keeps, and the last piece
        stands for all. It holds no history up: it is good as long as its ``rev`` is not before
        the `horizon`; after that its iterator may raise `TooLate`.
        """
        return self._picture(self._surveys, self.rev)

    def _picture(self, pins: Pins, base: int) -> Picture:
        assert self._sealed == self.rev, "an image is of sealed batches"
        assert not self._state.notes, "an image is of sealed batches"
        return Picture(self._state, Pinned(self._tree, pins, base))
