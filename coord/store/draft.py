"""One revision in the making: what it will change, laid over the tree as it is.

A write that does more than change one node is tried here first. Its steps see what earlier ones
did; the tree sees nothing until `coord.store.state.State.commit`, and a write that is refused
half way just lets its draft go.

Values and children are kept apart. A node that gains or loses a value, comes or goes, has its new
record; how the children of a parent were counted up and down is noted beside, and makes one record
of the parent in the end, however many of its children came and went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter

from coord.store.order import Order
from coord.store.sequences import Sequences
from coord.store.tree import (
    GONE,
    ROOT_KEY,
    Directory,
    Mark,
    Tree,
    Version,
    above,
    tombstone,
    with_directory,
)


class Draft:
    """The changes of revision ``rev``.

    ``left`` are the keys of the locks that somebody leaves by it, in order; ``then`` is what has
    to be done beside the tree once it is committed; ``owned`` counts the nodes that a session
    gains by it.
    """

    __slots__ = (
        "_back", "_below", "_doubtful", "_gone", "_kin", "_live", "_made", "_records",
        "_sequences", "_taken", "_tree", "left", "lost", "owned", "rev", "then", "time_ms",
    )  # fmt: skip

    def __init__(self, tree: Tree, sequences: Sequences, rev: int, time_ms: int) -> None:
        self.rev = rev
        self.time_ms = time_ms
        self.left: dict[str, None] = {}
        self.then: list[Callable[[], None]] = []
        self.owned = 0
        self.lost = 0
        self._tree = tree
        self._live = tree.live
        self._sequences = sequences
        self._records: dict[str, Version] = {}
        self._doubtful: dict[str, Mark] = {}
        self._kin: dict[str, list[int]] = {}
        self._made: Order | None = None
        self._back: dict[str, None] = {}
        self._below: dict[str, list[str]] = {}
        self._gone: dict[str, int] = {}
        self._taken: list[str] = []

    # -- looking -------------------------------------------------------------------
    def get(self, key: str) -> Version | None:
        """Return a node as it is after the steps so far; of its children ask `children`."""
        record = self._records.get(key)
        if record is None:
            return self._live.get(key)
        return None if record.created == GONE else record

    def children(self, key: str) -> int:
        """Return how many children a node has."""
        kin = self._kin.get(key)
        if kin is not None:
            return kin[0]
        version = self.get(key)
        return 0 if version is None or version.directory is None else version.directory.children

    def last(self, key: str) -> int:
        """Return the last number that a parent gave to a child, or may have given."""
        kin = self._kin.get(key)
        if kin is not None:
            return kin[2]
        version = self.get(key)
        if version is not None and version.directory is not None:
            return version.directory.sequence
        return self._gone[key] if key in self._gone else self._sequences.last(key)

    def below(self, key: str) -> list[str]:
        """Return the keys of all nodes below one, in path order."""
        start, until = key + "\0", key + "\x01"
        known = self._below.get(key)
        if known is None:
            known = self._tree.order.living(start, until, self._live)
        if not self._records:
            return known
        # What is lost is not looked at again, or a transaction could look at a tree for each line.
        keys = self._below[key] = [one for one in known if self.get(one) is not None]
        new = self._made_in_order().span(start, until, len(self._records))
        new += [one for one in self._back if start < one < until and self.get(one) is not None]
        return sorted({*keys, *new}) if new else keys

    def _made_in_order(self) -> Order:
        """Return the keys of the nodes that only the draft has; kept up from now on."""
        if self._made is None:
            self._made = Order()
            for key in sorted(key for key in self._records if key not in self._live):
                self._made.add(key)
        return self._made

    # -- values that come ------------------------------------------------------------
    def set(
        self,
        key: str,
        value: bytes,
        mark: Mark,
        owner: str | None = None,
        ttl_ms: int = 0,
        number: int | None = None,
    ) -> None:
        """Give a node a value, and make it and its parents where they are missing.

        :param number: the number in its name, for its parent to count.
        """
        rev, time_ms, old = self.rev, self.time_ms, self.get(key)
        if old is not None:
            self._records[key] = Version(
                old.key, rev, rev, value, old.created, old.version + 1, old.created_ms, time_ms,
                old.directory, owner, ttl_ms, mark,
            )  # fmt: skip
            return
        self._make(
            Version(key, rev, rev, value, rev, 1, time_ms, time_ms, None, owner, ttl_ms, mark)
        )
        while (version := self.get(key := above(key))) is None:
            self._make(Version(key, rev, rev, None, rev, 0, time_ms, time_ms, None, None, 0, mark))
            self._kin[key] = [1, 1, self._first(key, number)]
            number = None
        kin = self._kin_of(version)
        kin[0] += 1
        kin[1] += 1
        if number is not None:
            kin[2] = number

    def _make(self, version: Version) -> None:
        key = version.key
        gone = self._records.get(key)
        if gone is not None:  # it comes back
            self._doubtful[key] = gone.mark
            self._back[key] = None
        self._records[key] = version
        if self._made is not None and key not in self._live:
            self._made.add(key)

    def _first(self, key: str, number: int | None) -> int:
        """Return the last number given by a parent that has its first child, ``number``."""
        if key in self._gone:
            last = self._gone.pop(key)
        else:
            self._taken.append(key)
            last = self._sequences.last(key)
        return last if number is None else number

    def _kin_of(self, version: Version) -> list[int]:
        """Return a parent's counts: children, those made and deleted, the last number."""
        kin = self._kin.get(version.key)
        if kin is None:
            old = version.directory
            kin = self._kin[version.key] = (
                [0, 0, self._first(version.key, None)]
                if old is None
                else [old.children, old.child_version, old.sequence]
            )
        return kin

    # -- values that go ----------------------------------------------------------------
    def lose(self, keys: Iterable[str], mark: Mark) -> None:
        """Take the values of some nodes away, in any number and any order.

        A node that has children stays, as a parent without a value; others go, and so does
        each parent without a value when its last child goes.
        """
        live, records, kin = self._live, self._records, self._kin
        leaves, others = list[Version](), list[str]()
        for key in keys:
            version = live.get(key)
            if (
                version is not None
                and version.directory is None
                and key  # the root stays
                and key not in records
                and key not in kin
            ):
                leaves.append(version)
            else:
                others.append(key)
        gone = self._lose_leaves(leaves, mark) if leaves else {}
        others.sort(reverse=True)  # so that all below a node comes before it
        for key in others:
            self._lose_one(key, mark, gone)
        for key in sorted(gone):
            self._shrink(key, gone[key], mark)

    def _lose_leaves(self, leaves: list[Version], mark: Mark) -> dict[str, int]:
        """Let nodes of the tree go that never had a child: most do, and there may be many.

        Each thing is done to all of them before the next, in the order in which they are in memory.
        Returns the parents whose children went, and how many; they are not counted yet.
        """
        rev, time_ms = self.rev, self.time_ms
        stones = [  # `tombstone`, said shortly
            Version(one.key, rev, rev, None, GONE, one.version, 0, time_ms, None, None, 0, mark)
            for one in leaves
        ]
        keys = [one.key for one in leaves]
        self._records.update(zip(keys, stones, strict=True))
        self.lost += len(leaves)
        if len(keys) == 1:
            return {above(keys[0]): 1}
        return Counter([key[: key.rindex("\0")] for key in keys])

    def _lose_one(self, key: str, mark: Mark, gone: dict[str, int]) -> None:
        """Take the value of any node away.

        :param gone: the parents whose children went, and how many; they are not counted yet.
        """
        version = self.get(key)
        if version is None or version.value is None:
            return
        if key in gone:
            self._count_gone(version, gone.pop(key))
        if key == ROOT_KEY or self.children(key):
            self._records[key] = self._without_value(version, mark)
            self._doubtful[key] = mark
        else:
            self._bury(version, mark)
            parent = above(key)
            gone[parent] = gone.get(parent, 0) + 1

    def _without_value(self, old: Version, mark: Mark) -> Version:
        rev = self.rev
        return Version(
            old.key, rev, rev, None, old.created, old.version, old.created_ms, self.time_ms,
            old.directory, None, 0, mark,
        )  # fmt: skip

    def _count_gone(self, version: Version, count: int) -> None:
        kin = self._kin_of(version)
        kin[0] -= count
        kin[1] += count

    def _bury(self, version: Version, mark: Mark) -> None:
        key = version.key
        self.lost += 1
        if key in self._live:
            self._records[key] = tombstone(version, self.rev, self.time_ms, mark)
            self._doubtful[key] = mark
        else:
            del self._records[key]
            if self._made is not None:
                self._made.remove(key)
        kin = self._kin.pop(key, None)
        if kin is not None:
            self._gone[key] = kin[2]
        elif version.directory is not None:
            self._gone[key] = version.directory.sequence

    def _shrink(self, key: str, count: int, mark: Mark) -> None:
        """Count children that went; a parent that was there only for them goes, too."""
        while True:
            version = self.get(key)
            assert version is not None, "children have a parent"
            self._count_gone(version, count)
            if version.value is not None or key == ROOT_KEY or self.children(key):
                return
            self._bury(version, mark)
            key, count = above(key), 1

    # -- the end ------------------------------------------------------------------------
    def finish(self) -> tuple[list[Version], list[Version]]:
        """Return all records, as they came and in path order; numbers given by parents are kept.

        A node that lost its value, went, and was made anew as a parent without one has two: the
        one of its end first.
        """
        records, rev = self._records, self.rev
        for key, kin in self._kin.items():
            version = self.get(key)
            assert version is not None, "who counts its children is there"
            records[key] = with_directory(version, rev, Directory(kin[0], rev, kin[1], kin[2]))
        for key in self._taken:
            self._sequences.take(key)
        for key, number in self._gone.items():
            self._sequences.remember(key, number)
        ends = [end for key in self._doubtful if (end := self._settle_loss(key)) is not None]
        finished = [records[key] for key in sorted(records)]
        if ends:
            finished = sorted([*ends, *finished], key=attrgetter("key"))
        return [*ends, *records.values()], finished

    def _settle_loss(self, key: str) -> Version | None:
        """See that the loss of a value of the past revision is told, and of no other.

        Returns the record of the node's end where it must be told beside that of its new life.
        """
        record, old, rev = self._records.get(key), self._live.get(key), self.rev
        if record is None or record.value is not None or record.rev != rev:
            return None
        had_value = old is not None and old.value is not None
        if had_value == bool(record.version):
            return None
        if old is None or (record.created == rev and not had_value):
            self._records[key] = _with_count(record, rev, 0)
        elif record.created == rev:
            return tombstone(old, rev, self.time_ms, self._doubtful[key])
        elif record.created == GONE:
            self._records[key] = _with_count(record, rev, old.version if had_value else 0)
        else:  # a value that came and went: nothing was changed
            self._records[key] = _with_count(record, old.rev, old.version)
        return None


def _with_count(record: Version, rev: int, values: int) -> Version:
    """Return a record without a value that tells of another number of values."""
    return Version(
        record.key, record.since, rev, None, record.created, values, record.created_ms,
        record.modified_ms, record.directory, None, 0, record.mark,
    )  # fmt: skip
