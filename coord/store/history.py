"""What happened, revision by revision, as far back as it is kept; and who needs more.

The *horizon* is the oldest revision that can be read and watched from. It follows from the
newest revision alone, so it is the same on every node with the same setting. What lies
behind it is dropped a little at a time after each batch, and only once no picture is held
that was taken there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

from coord.store.tree import Shelf, Tree, Version

Changes: TypeAlias = Version | tuple[Version, ...]
"""All that one revision changed: in path order, or the one change without a tuple around it."""
_FOOTHOLD_PART: Final = 8
"""A foothold is this part of the kept history away from its end."""


class History:
    """The changes of the kept revisions, ``horizon + 1`` to ``rev`` at least.

    ``base`` is the revision at which a store began that was loaded from an image.
    """

    __slots__ = ("_base", "_entries", "_kept", "_part", "_tree", "rev")

    def __init__(self, tree: Tree, revisions: int, base: int = 0) -> None:
        if revisions < 1:
            raise ValueError("a store keeps one revision at least: the present one")
        self.rev = base
        self._base = base
        self._kept = revisions
        self._tree = tree
        self._entries: Shelf[Changes] = Shelf([])
        self._part = 0

    @property
    def horizon(self) -> int:
        """The oldest revision that can be read and watched from."""
        return max(self._base, self.rev - self._kept + 1)

    @property
    def foothold(self) -> int:
        """Where those go on who come too late: the horizon would be gone before they are back."""
        return self.horizon + (self.rev - self.horizon) // _FOOTHOLD_PART

    @property
    def first(self) -> int:
        """The oldest revision whose changes are still here."""
        return self.rev - len(self._entries) + 1

    def append(self, changes: Changes) -> None:
        """Make the next revision."""
        self._entries.items.append(changes)
        self.rev += 1

    def changes(self, rev: int) -> tuple[Version, ...]:
        """Return what ``rev`` changed, in path order; it must still be here."""
        assert self.first <= rev <= self.rev
        changes = self._entries.items[rev - self.rev - 1]
        return (changes,) if isinstance(changes, Version) else changes

    def after(self, rev: int) -> list[Changes]:
        """Return the changes of all revisions after ``rev``, which must still be here."""
        assert self.first <= rev + 1
        return self._entries.items[-(self.rev - rev) :] if rev < self.rev else []

    def records(self, start: int, end: int) -> Iterator[Version]:
        """Yield every record from revision ``start`` to ``end``, as long as those are here."""
        return chain.from_iterable(map(self.changes, range(start, end + 1)))

    def trim(self, until: int, changes_max: int) -> None:
        """Drop what only readers before ``until`` would need, ``changes_max`` at most."""
        entries, forget = self._entries, self._tree.forget
        rev = self.first
        while rev <= min(until, self.rev) and changes_max > 0:
            changes = entries.items[entries.start]
            if isinstance(changes, Version):
                forget(changes.key, rev)
                changes_max -= 1
            else:
                part = changes[self._part : self._part + changes_max]
                for version in part:
                    forget(version.key, rev)
                changes_max -= len(part)
                self._part += len(part)
                if self._part < len(changes):
                    return
                self._part = 0
            entries.pop()
            rev += 1


class Pins:
    """Revisions at which pictures are held: counted, so that the oldest is known at once."""

    __slots__ = ("_counts", "_revs", "void_before")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._revs: list[int] = []
        self.void_before = 0

    def hold(self, rev: int) -> None:
        """Keep the picture at ``rev``."""
        count = self._counts.get(rev)
        if count is None:
            insort(self._revs, rev)
            count = 0
        self._counts[rev] = count + 1

    def release(self, rev: int) -> None:
        """Let go of what one `hold` kept."""
        if rev < self.void_before:
            return
        self._counts[rev] -= 1
        if not self._counts[rev]:
            del self._counts[rev]
            del self._revs[bisect_left(self._revs, rev)]

    def oldest(self, otherwise: int) -> int:
        """Return the oldest revision held, or ``otherwise`` where that is older."""
        return min(otherwise, self._revs[0]) if self._revs else otherwise

    def void(self, before: int) -> None:
        """Give up the pictures taken before that revision: whoever reads on is told."""
        if before <= self.void_before:
            return
        self.void_before = before
        while self._revs and self._revs[0] < before:
            del self._counts[self._revs[0]]
            del self._revs[0]

    def __len__(self) -> int:
        """How many pictures are held."""
        return sum(self._counts.values())
