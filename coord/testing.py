"""A store in memory for the tests of programs that use `coord.client`.

`MemoryClient` has every method of `coord.client.Client` and gives the same results, errors and
events, by the store's own code; nothing is opened, and nothing waits: a Deferred has fired
when the call returns, and a watch is told before the write that it sees. Time is a
`twisted.internet.task.Clock` unless another is given::

    store = MemoryStore()
    client = MemoryClient(store)
    self.successResultOf(client.set("/message", b"hello"))
    seen = client.wait("/message", timeout_seconds=5)
    client.clock.advance(5)
    self.failureResultOf(seen, TimedOut)

For the worse days, `MemoryClient.refuse_with` has requests fail: with `Unavailable` for a
cluster without a quorum, with `Unknown` for a write whose answer was lost (`MemoryStore`
says whether such a write is done).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from coord import commands
from coord.client.errors import Closed
from coord.client.requests import glob_line, line
from coord.client.rows import Names, Page
from coord.client.verbs import Verbs
from coord.client.watch import Watch
from coord.errors import CoordError, TooLarge, Unavailable, Unknown
from coord.limits import HISTORY_REVISIONS, VALUE_BYTES_MAX
from coord.paths import Glob
from coord.results import Items, Result, Row, Rows
from coord.store.machine import Store
from coord.store.watches import Watch as StoreWatch

_TAKEN_AT_ONCE: Final = 64


class MemoryStore:
    """A store that any number of `MemoryClient` share, as clients share a cluster.

    :param clock: what time it is; its ``advance`` is the test's.
    :param history_revisions: how many revisions can be read and watched from.
    """

    def __init__(
        self, clock: IReactorTime | None = None, *, history_revisions: int = HISTORY_REVISIONS
    ) -> None:
        self.clock: Any = Clock() if clock is None else clock
        self._store = Store(history_revisions)

    @property
    def rev(self) -> int:
        """The newest revision."""
        return self._store.rev

    def perform(self, command: commands.Write | commands.Read) -> Result:
        """Do a write or a read, and tell the watches."""
        if not isinstance(command, commands.WRITES):
            return self._store.answer(command)
        if len(getattr(command, "value", b"")) > VALUE_BYTES_MAX:
            return TooLarge(f"a value has at most {VALUE_BYTES_MAX} bytes")
        result = self._store.apply(command, int(self.clock.seconds() * 1000))
        self._store.seal()
        for watch in self._store.publish():
            watch.wake()
        return result

    def watch(
        self, glob: Glob, after_rev: int | None, wake: Callable[[], None], *, lasting: bool = False
    ) -> StoreWatch:
        """Begin to watch the store; see `coord.store.machine.Store.watch`."""
        return self._store.watch(glob, after_rev, wake, lasting=lasting)

    def describe(self) -> str:
        """Return the store in one line."""
        return self._store.describe()


class MemoryClient(Verbs):
    """A client of a `MemoryStore`.

    :param store: the store; by default one of its own.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        super().__init__(self.store.clock)
        self._refusal: CoordError | None = None
        self._watches: dict[_MemoryWatch, None] = {}
        self._is_closed = False

    @property
    def clock(self) -> Any:
        """The store's clock."""
        return self.store.clock

    @property
    def server(self) -> str | None:
        """``memory``; ``None`` once it is closed."""
        return None if self._is_closed else "memory"

    def refuse_with(self, problem: CoordError | None) -> None:
        """Have every request fail with ``problem``, until this is called with ``None``.

        With `Unknown` a write is done all the same and only its answer is lost, and reads fail
        with `Unavailable`; with any other error nothing is done. Watches go on.
        """
        self._refusal = problem

    def request(self, command: commands.Command) -> Deferred[Any]:
        """Do any command but a watch or a wait; see `Verbs.request`."""
        line(command)  # what no server would understand is refused alike
        if self._is_closed:
            raise Closed("the client is closed")
        refusal = self._refusal
        if refusal is None:
            return self._answer(command)
        if isinstance(refusal, Unknown):
            if not isinstance(command, commands.WRITES):
                return fail(Unavailable(refusal.text))
            self.store.perform(command)
        return fail(refusal)

    def _watched(
        self, glob: str, after_rev: int | None, diff: bool, lasting: bool = False
    ) -> Watch[Any]:
        watch = _MemoryWatch(glob, after_rev, self._watches, lasting=lasting)
        try:
            if self._is_closed:
                raise Closed("the client is closed")
            watch.begin(self.store)
        except CoordError as error:
            watch.fail(error)
        return watch

    def close(self) -> Deferred[None]:
        """Give up all watches; the store stays."""
        self._is_closed = True
        for watch in [*self._watches]:
            watch.close()
        return succeed(None)

    def _answer(self, command: commands.Command) -> Deferred[Any]:
        match command:
            case commands.Ping() | commands.Quit():
                return succeed(None)
            case commands.Status():
                facts = {"node": "memory", "cluster": "memory", "role": "leader"}
                facts |= {"leader": "memory", "quorum": "yes", "rev": str(self.store.rev)}
                return succeed(Items(self.store.rev, tuple(f"{k}={v}" for k, v in facts.items())))
            case commands.Members():
                return succeed(Items(self.store.rev, ("memory memory:0 voter up",)))
        result = self.store.perform(command)  # type: ignore[arg-type]
        if isinstance(result, CoordError):
            return fail(result)
        return succeed(_whole(command, result) if isinstance(result, Rows) else result)


def _whole(command: commands.Command, rows: Rows) -> Names | Page:
    if isinstance(command, commands.List):
        return Names(rows.rev, tuple(row for row in rows.rows if isinstance(row, str)))
    return Page(rows.rev, tuple(row for row in rows.rows if isinstance(row, Row)))


class _MemoryWatch(Watch[Any]):
    """A watch of a store in this process: what is not taken stays in the store."""

    def __init__(
        self,
        glob: str,
        after_rev: int | None,
        all_of_client: dict[Any, None],
        *,
        lasting: bool = False,
    ) -> None:
        super().__init__(glob, after_rev)
        self._all = all_of_client
        self._lasting = lasting
        self._watch: StoreWatch | None = None
        self._is_pulling = False

    def begin(self, store: MemoryStore) -> None:
        """Open it."""
        glob = Glob.parse(glob_line(self.glob))
        self._watch = store.watch(glob, self._known, self._pull, lasting=self._lasting)
        self._all[self] = None
        self._note_known(self._watch.rev)
        self._pull()

    def _pull(self) -> None:
        if self._is_pulling:
            return  # who takes an event within this may ask for the next
        self._is_pulling = True
        try:
            while self._watch is not None and self._watch.ready and not self._is_full:
                for event in self._watch.take(_TAKEN_AT_ONCE):
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
