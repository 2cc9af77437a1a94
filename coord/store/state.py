"""All that a store is, in one place: a function of its log and of nothing else.

The tree has a record of each of its changes. What stands beside it (sessions, locks, answers) is
changed together with it, and tells of each change by a *note*: the digest is over both.
"""

from __future__ import annotations

from typing import Final

from coord.commands import Caller, Level
from coord.errors import CoordError
from coord.paths import from_order_key
from coord.store import refusals
from coord.store.access import Access, is_control
from coord.store.draft import Draft
from coord.store.history import History
from coord.store.locks import Locks
from coord.store.marks import Marks
from coord.store.news import Lifetime, News
from coord.store.sequences import Sequences
from coord.store.sessions import Note, Sessions
from coord.store.tree import GONE, Tree, Version, empty_root

_DIGEST_BYTES: Final = 16
_WRITE: Final = int(Level.WRITE)
_ADMIN: Final = int(Level.ADMIN)


class State:
    """What writes change, and what an image brings back.

    ``mortal`` are the keys of the nodes with a lifetime. ``news`` are for the owner of the store,
    ``notes`` for the digest. ``is_inherited`` is `coord.store.machine.Store.is_inherited`.
    ``access`` and ``marks`` follow from the tree and from who asks.
    """

    __slots__ = (
        "access", "digest", "history", "is_inherited", "locks", "marks", "mortal", "news", "notes",
        "sequences", "sessions", "tree",
    )  # fmt: skip

    def __init__(
        self,
        tree: Tree,
        history: History,
        sequences: Sequences,
        sessions: Sessions | None = None,
        locks: Locks | None = None,
        digest: bytes = bytes(_DIGEST_BYTES),
    ) -> None:
        self.tree = tree
        self.history = history
        self.sequences = sequences
        self.sessions = sessions or Sessions()
        self.locks = locks or Locks()
        self.digest = digest
        self.notes: list[Note] = self.sessions.notes
        self.news: list[News] = []
        self.mortal: dict[str, None] = {}
        self.is_inherited = False
        self.access = Access(tree.live)
        self.marks = Marks()

    @classmethod
    def empty(cls, history_revisions: int) -> State:
        """Return what there is before the first write."""
        tree = Tree()
        tree.put(empty_root())
        return cls(tree, History(tree, history_revisions), Sequences())

    def draft(self, time_ms: int) -> Draft:
        """Begin the next revision."""
        return Draft(self.tree, self.sequences, self.history.rev + 1, time_ms)

    def unwritable(self, path: str, caller: Caller, named: str = "") -> CoordError | None:
        """Return why a caller may not write at ``path``, ``None`` where it may.

        :param named: the path as the caller named it, where it is another: who may not
            write learns nothing else by the refusal.
        """
        if is_control(path):
            may = self.access.rules.may(caller, _WRITE, path)
            return None if may else refusals.denied()
        if caller.level >= _ADMIN or self.access.rules.may(caller, _WRITE, path):
            return None
        return refusals.unwritable(named or path)

    def commit(self, draft: Draft) -> int:
        """Make a draft the next revision, if it changes anything; return the newest one."""
        records, in_order = draft.finish()
        if records:
            self._install(records)
            self.history.append(in_order[0] if len(in_order) == 1 else tuple(in_order))
        for step in draft.then:
            step()
        return self.history.rev

    def _install(self, records: list[Version]) -> None:
        """Put the records of a revision in their places, those of nodes that end first."""
        stones = [record for record in records if record.created == GONE]
        if stones:
            self._forget(self.tree.bury(stones))
        live, put = self.tree.live, self.tree.put
        for record in records if len(stones) < len(records) else ():
            if record.created == GONE:
                continue
            old = live.get(record.key)
            put(record)
            owner = None if old is None else old.owner
            if owner != record.owner:
                self.sessions.own(record.key, owner, record.owner)
            if record.ttl_ms:
                self.count_down(record)
            elif old is not None and old.ttl_ms:
                del self.mortal[record.key]

    def _forget(self, gone: list[Version]) -> None:
        """Drop from the indices what is no more."""
        for version in gone:
            if version.ttl_ms:
                del self.mortal[version.key]
        owners = {version.owner for version in gone}
        if not self.sessions.live.keys().isdisjoint(owners):
            for version in gone:
                self.sessions.own(version.key, version.owner, None)

    def count_down(self, version: Version) -> None:
        """Take note that a node with a lifetime is there; from when its value changed."""
        self.mortal[version.key] = None
        if version.rev == version.since:
            self.news.append(lifetime(version))


def lifetime(version: Version) -> Lifetime:
    """Return how long a node lives."""
    return Lifetime(from_order_key(version.key), version.rev, version.ttl_ms)
