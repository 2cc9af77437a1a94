"""The verbs as methods: what every client offers, whatever stands behind it.

`coord.client.Client` asks servers, `coord.testing.MemoryClient` a store in memory. Both are
`Verbs`, so annotate with that what takes either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from coord import commands
from coord.client.rows import Member, Names, Page
from coord.client.watch import Watch
from coord.errors import CoordError, TimedOut
from coord.events import Event
from coord.limits import CLIENT_PAGE_ROWS
from coord.results import Facts, Items, Point, Value, Written


class Verbs:
    """What can be asked of a store.

    Every Deferred carries a `CoordError` where the store said no; see each method for what to
    expect beside the errors that any request may meet: `Unavailable` (not done; also
    `NoServer` and `Overloaded`), `BadPath`, `BadGlob`, `TooLarge`. Writes may meet
    `Unknown`, too: done or not, nobody can tell. To cancel a Deferred gives the request
    up: its Deferred carries ``CancelledError``, and a write may still be done.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    # -- what stands behind ---------------------------------------------------------------------
    def request(self, command: commands.Command) -> Deferred[Any]:
        """Ask for any command but a watch or a wait, and return its result as it comes.

        `Names` for a list, `Page` for a walk, `Items` for a table, else the result of
        `coord.results` that goes with the command; ``None`` after ``PING``.
        """
        raise NotImplementedError

    def watch(self, glob: str, *, after_rev: int | None = None) -> Watch:
        """Watch every change that matches ``glob``, in order, none missed, none twice.

        :param glob: as in the line protocol; `exactly` makes one of a path.
        :param after_rev: begin after this revision; without it, when a server has opened the
            watch, after all that was answered anywhere before: see `Watch.opened`.
        :returns: a watch, which may not be open yet.
        """
        raise NotImplementedError

    @property
    def server(self) -> str | None:
        """Whom we talk to, as it was given; ``None`` for nobody at this moment."""
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        """Give up all requests and watches; fires when nothing is open any more."""
        raise NotImplementedError

    # -- one node -------------------------------------------------------------------------------
    def get(self, path: str, *, local: bool = False, rev: int | None = None) -> Deferred[Value]:
        """Return a node's value and the revision that last changed it.

        :param local: as the server stands, also where it has lost the others.
        :param rev: as it was at that revision.
        :raises NoEntry: there is no such node.
        :raises IsDirectory: it has children and no value.
        :raises TooLate: the history that ``rev`` needs is gone.
        """
        return self._ask(commands.Get(path, local, rev))

    def stat(self, path: str, *, local: bool = False, rev: int | None = None) -> Deferred[Facts]:
        """Return what is known of a node beside its value; parameters and errors as in `get`."""
        return self._ask(commands.Stat(path, local, rev))

    def list(self, path: str, *, local: bool = False, rev: int | None = None) -> Deferred[Names]:
        """Return the names of a node's children; parameters and errors as in `get`."""
        return self._ask(commands.List(path, local, rev))

    def set(self, path: str, value: bytes, *, if_rev: int | None = None) -> Deferred[Written]:
        """Give a node a value, making it and its parents where they are missing.

        :param if_rev: 0: only where there is no such node; N: only where it has not changed
            after revision N.
        :raises RevisionMismatch: the node is not as ``if_rev`` wants it.
        :raises NoEntry: ``if_rev`` wants a node, and there is none.
        :raises Unknown: the connection was lost, or time was over, before the answer came.
        """
        return self._ask(commands.Set(path, _bytes(value), if_rev))

    def add(self, path: str, value: bytes, *, sequential: bool = False) -> Deferred[Written]:
        """Make a node that must not be there yet; the result's ``path`` names it.

        :param sequential: append the parent's next number, ten digits.
        :raises Exists: there is such a node.
        :raises Unknown: as in `set`.
        """
        return self._ask(commands.Add(path, _bytes(value), sequential))

    def delete(
        self, path: str, *, if_rev: int | None = None, tree: bool = False
    ) -> Deferred[Written]:
        """Delete a node.

        :param if_rev: as in `set`.
        :param tree: with all that is below it.
        :raises NoEntry: there is no such node.
        :raises NotEmpty: it has children, and ``tree`` was not asked for.
        :raises RevisionMismatch: it has changed after ``if_rev``.
        :raises Unknown: as in `set`.
        """
        return self._ask(commands.Delete(path, if_rev, tree))

    # -- many nodes -----------------------------------------------------------------------------
    def walk(
        self,
        glob: str,
        *,
        local: bool = False,
        rev: int | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Deferred[Page]:
        """Return the nodes that match and hold a value, in path order, all of one revision.

        All rows are in memory at once: `walk_pages` is for more than some thousands.

        :param after: only what comes after this path.
        :param limit: at most so many rows, 1 or more.
        :raises TooLate: the history that ``rev`` needs is gone.
        """
        return self._ask(commands.Walk(glob, local, rev, after, limit))

    async def walk_pages(
        self,
        glob: str,
        *,
        rev: int | None = None,
        after: str | None = None,
        page_rows: int = CLIENT_PAGE_ROWS,
    ) -> AsyncIterator[Page]:
        """Yield a walk in pages: one consistent picture, whatever happens in between.

        All pages are of the revision of the first, which also comes where it is empty. One page
        is read ahead. A server that is lost is replaced by another without a gap.

        :param rev: the revision wanted; without it, the present one.
        :param page_rows: rows of a page, 1 or more; the last one may have fewer.
        :raises TooLate: the walk took so long that its history is gone.
        """
        coming: Deferred[Page] | None = self.walk(glob, rev=rev, after=after, limit=page_rows)
        try:
            while coming is not None:
                page = await coming
                coming = None
                if len(page.rows) == page_rows:
                    last = page.rows[-1].path
                    coming = self.walk(glob, rev=page.rev, after=last, limit=page_rows)
                yield page
        finally:
            if coming is not None:
                coming.addErrback(lambda _: None)
                coming.cancel()

    def wait(
        self, glob: str, *, after_rev: int | None = None, timeout_seconds: float | None = None
    ) -> Deferred[Event]:
        """Return the first change that matches ``glob``, as the first of `watch` would be.

        It waits on, whatever becomes of servers, until there is one or time is over.

        :param timeout_seconds: how long at most; without it, for ever.
        :raises TimedOut: nothing happened in the time allowed.
        :raises TooLate: the history after ``after_rev`` is gone.
        """
        watch = self.watch(glob, after_rev=after_rev)
        waited: Deferred[Event] = watch.next()
        if timeout_seconds is not None:
            problem = TimedOut("nothing happened in the time allowed")
            timer = self._clock.callLater(max(0.0, timeout_seconds), watch.fail, problem)

            def stop(outcome: Any) -> Any:
                if timer.active():
                    timer.cancel()
                return outcome

            waited.addBoth(stop)

        def close(outcome: Any) -> Any:
            watch.close()
            return outcome

        return waited.addBoth(close)

    # -- the server and the cluster -------------------------------------------------------------
    def rev(self) -> Deferred[Point]:
        """Return the server's revision as it stands."""
        return self._ask(commands.Rev())

    def sync(self) -> Deferred[Point]:
        """Return a revision that has all that was answered before, anywhere."""
        return self._ask(commands.Sync())

    def status(self) -> Deferred[dict[str, str]]:
        """Return how the server is: ``role``, ``leader``, ``quorum``, ``rev`` and more."""

        def facts(items: Items) -> dict[str, str]:
            return dict(row.partition("=")[::2] for row in items.rows)

        return self._ask(commands.Status()).addCallback(facts)

    def members(self) -> Deferred[tuple[Member, ...]]:
        """Return the cluster as the server sees it."""

        def members(items: Items) -> tuple[Member, ...]:
            return tuple(_member(row) for row in items.rows)

        return self._ask(commands.Members()).addCallback(members)

    def ping(self) -> Deferred[None]:
        """Return once the server has answered."""
        return self._ask(commands.Ping())

    def _ask(self, command: commands.Command) -> Deferred[Any]:
        try:
            return self.request(command)
        except CoordError as error:
            return fail(error)


def _bytes(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"a value is bytes, not {type(value).__name__}")
    return value


def _member(row: str) -> Member:
    name, address, part, state = [*row.split(" "), "", "", ""][:4]
    return Member(name, address, part, state == "up")
