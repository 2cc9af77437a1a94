"""A watch of a store in this process."""

from __future__ import annotations

from typing import Any, Final

from coord.client.requests import glob_line
from coord.client.watch import Watch
from coord.errors import CoordError, TooLate
from coord.paths import Glob
from coord.store.watches import Watch as StoreWatch
from coord.testing.store import MemoryStore

_TAKEN_AT_ONCE: Final = 64


class MemoryWatch(Watch[Any]):
    """A watch of a store in this process: what is not taken stays in the store."""

    def __init__(
        self,
        glob: str,
        after_rev: int | None,
        all_of_client: dict[Any, None],
        *,
        diff: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(glob, after_rev)
        self._all = all_of_client
        self._takes_differences = diff
        self._lasting = lasting
        self._store: MemoryStore | None = None
        self._watch: StoreWatch | None = None
        self._is_pulling = False

    def begin(self, store: MemoryStore) -> None:
        """Open it."""
        self._store = store
        self._all[self] = None
        try:
            self._open(self._known)
        except TooLate as problem:
            self._compare(problem)
        self._pull()

    def _open(self, after_rev: int | None) -> None:
        assert self._store is not None, "it was begun"
        glob = Glob.parse(glob_line(self.glob))
        self._watch = self._store.watch(glob, after_rev, self._pull, lasting=self._lasting)
        self._note_known(self._watch.rev)

    def _compare(self, problem: TooLate) -> None:
        """Tell how things differ, where that is wanted, in place of history that is gone."""
        after_rev, _ = self._resume_from()
        if not self._takes_differences or after_rev is None or self._store is None:
            raise problem
        difference = self._store.difference(Glob.parse(glob_line(self.glob)), after_rev)
        self._note_known(after_rev)
        self._open(difference.rev)
        self._differ(difference)

    def _pull(self) -> None:
        if self._is_pulling:
            return  # who takes an event within this may ask for the next
        self._is_pulling = True
        try:
            while self._watch is not None and self._watch.ready and not self._is_full:
                try:
                    events = self._watch.take(_TAKEN_AT_ONCE)
                except TooLate as problem:
                    self._compare(problem)
                    continue
                for event in events:
                    self._offer(event)
            if self._lasting and self._watch is not None and not self._watch.ready:
                self._note_known(self._watch.seen_rev)
        except CoordError as error:
            self.fail(error)
        finally:
            self._is_pulling = False

    def _taken(self) -> None:
        if self._is_drained:
            self._pull()

    def _released(self) -> None:
        self._all.pop(self, None)
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
