"""A store, and short words for what is asked of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Add, Delete, Get, List, Set, Stat, Walk
from coord.errors import CoordError
from coord.events import Event
from coord.paths import Glob
from coord.results import Facts, Row, Rows
from coord.store.image import Loading
from coord.store.machine import Store
from coord.store.watches import Watch


class StoreTestCase(SynchronousTestCase):
    """A store, and short words for what is asked of it."""

    def setUp(self) -> None:
        """Begin with an empty store that keeps everything."""
        self.store = Store()
        self.time_ms = 1000

    def set(self, path: str, value: bytes = b"v", if_rev: int | None = None) -> object:
        """Set, with a new time."""
        self.time_ms += 1
        return self.store.apply(Set(path, value, if_rev), self.time_ms)

    def add(self, path: str, value: bytes = b"v", sequential: bool = False) -> object:
        """Add, with a new time."""
        self.time_ms += 1
        return self.store.apply(Add(path, value, sequential), self.time_ms)

    def delete(self, path: str, if_rev: int | None = None, tree: bool = False) -> object:
        """Delete, with a new time."""
        self.time_ms += 1
        return self.store.apply(Delete(path, if_rev, tree), self.time_ms)

    def get(self, path: str, rev: int | None = None) -> object:
        """Return a value, or why there is none."""
        return self.store.answer(Get(path, rev=rev))

    def facts(self, path: str, rev: int | None = None) -> Facts:
        """Return the facts of a node that is there."""
        facts = self.store.answer(Stat(path, rev=rev))
        assert isinstance(facts, Facts)
        return facts

    def names(self, path: str, rev: int | None = None) -> list[str]:
        """Return the children of a node that is there."""
        rows = self.store.answer(List(path, rev=rev))
        assert isinstance(rows, Rows)
        return [row for row in rows.rows if isinstance(row, str)]

    def walk(
        self, glob: str, rev: int | None = None, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the paths of a walk."""
        rows = self.store.answer(Walk(glob, rev=rev, after=after, limit=limit))
        assert isinstance(rows, Rows)
        return [row.path for row in rows.rows if isinstance(row, Row)]

    def events(self, after_rev: int = 0, glob: bytes = b"/**") -> list[Event]:
        """Return all that happened after a revision."""
        watch = self.watch(glob, after_rev)
        seen: list[Event] = []
        while watch.ready:
            seen += watch.take(100)
        watch.close()
        return seen

    def refused(self, result: object, kind: type[CoordError]) -> str:
        """See that an answer is an error of this kind; return its text."""
        self.assertIsInstance(result, kind)
        assert isinstance(result, CoordError)
        return result.text

    def watch(self, glob: bytes = b"/**", after_rev: int | None = None) -> Watch:
        """Begin to watch."""
        return self.store.watch(Glob.parse(glob), after_rev, lambda: None)

    def turn(self) -> list[Watch]:
        """End a batch and a turn."""
        self.store.seal()
        return self.store.publish()

    def reloaded(self, history_revisions: int = 1000) -> Store:
        """Return a store made from this one's image."""
        loading = Loading(history_revisions)
        for piece in self.store.picture().pieces():
            loading.feed(piece)
        return loading.finish()
