"""The verbs as methods: what every client offers, whatever stands behind it.

`coord.client.Client` asks servers, `coord.testing.MemoryClient` a store in memory. Both are
`Verbs`, so annotate with that what takes either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, overload

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from coord import commands
from coord.client.lock import Lock
from coord.client.rows import Difference, Entries, Member, Names, Page
from coord.client.session import Session
from coord.client.transaction import Transaction, checked, milliseconds
from coord.client.watch import Watch
from coord.errors import CoordError, TimedOut
from coord.events import Event
from coord.limits import CLIENT_PAGE_ROWS, SPAN_SECONDS_MAX
from coord.results import Committed, Entry, Facts, Items, Point, Value, Written


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

    @overload
    def watch(
        self, glob: str, *, after_rev: int | None = None, diff: Literal[False] = False
    ) -> Watch[Event]: ...

    @overload
    def watch(
        self, glob: str, *, after_rev: int | None = None, diff: bool
    ) -> Watch[Event | Difference]: ...

    def watch(self, glob: str, *, after_rev: int | None = None, diff: bool = False) -> Watch[Any]:
        """Watch every change that matches ``glob``, in order, none missed, none twice.

        :param glob: as in the line protocol; `exactly` makes one of a path.
        :param after_rev: begin after this revision; without it, when a server has opened the
            watch, after all that was answered anywhere before: see `Watch.opened`.
        :param diff: where the history that it would have to go on from is gone, do not fail
            with `TooLate`, but tell a `Difference` in place of the changes that nobody knows any
            more, and go on from there.
        :returns: a watch, which may not be open yet.
        """
        return self._watched(glob, after_rev, diff)

    def session(
        self, *, timeout_seconds: float | None = None, margin_seconds: float | None = None
    ) -> Session:
        """Return the client's session, and begin to open one where there is none.

        A client that never asked gets one, of ten seconds, when it first needs it: for a lock, an
        ephemeral node, or a write with a ``word``. As long as there is one, every write has an
        id, so that it is sent again where its answer was lost with the server, and done once.

        :param timeout_seconds: how long it outlives its silence, between half a second and a day.
        :param margin_seconds: how long before others may go on it is taken for lost, at most half
            of the timeout; by default a tenth of that.
        :returns: a session, which may not be open yet.
        :raises BadRequest: there is one already, which is not as it is asked for here.
        """
        raise NotImplementedError

    def watch_lasting(self, glob: str, *, after_rev: int | None = None) -> Watch[Event]:
        """Watch as `watch` does, but only what does not go with a session: what backups want.

        Events are those of what there would be if all sessions ended at that moment, with the
        lifetime of nodes that have one. A ``del`` may come of what was never there.
        """
        return self._watched(glob, after_rev, False, True)

    def _watched(
        self, glob: str, after_rev: int | None, diff: bool, lasting: bool = False
    ) -> Watch[Any]:
        """Begin a watch."""
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

    def set(
        self,
        path: str,
        value: bytes,
        *,
        if_rev: int | None = None,
        ephemeral: bool = False,
        ttl_seconds: float | None = None,
        word: str | None = None,
    ) -> Deferred[Written]:
        """Give a node a value, making it and its parents where they are missing.

        :param if_rev: 0: only where there is no such node; N: only where it has not changed
            after revision N.
        :param ephemeral: the node goes with the client's `session`.
        :param ttl_seconds: the node goes so long after the last `set`; 0: it stays. Without this
            and ``ephemeral`` a node keeps the owner and the lifetime that it has.
        :param word: an id of your own, unique within the session and up to 64 characters, for
            `outcome`; without it the client makes one up where it has a session.
        :raises RevisionMismatch: the node is not as ``if_rev`` wants it.
        :raises NoEntry: ``if_rev`` wants a node, and there is none.
        :raises Locked: it is the node of a lock that somebody else holds.
        :raises SessionExpired: it needs the session, which is over.
        :raises Unknown: the connection was lost before the answer came, and there was no session
            to ask under again; or time was over.
        """
        ttl_ms = milliseconds(ttl_seconds)
        return self._write(commands.Set(path, checked(value), if_rev, ephemeral, ttl_ms), word)

    def add(
        self,
        path: str,
        value: bytes,
        *,
        sequential: bool = False,
        ephemeral: bool = False,
        ttl_seconds: float | None = None,
        word: str | None = None,
    ) -> Deferred[Written]:
        """Make a node that must not be there yet; the result's ``path`` names it.

        Other parameters as in `set`.

        :param sequential: append the parent's next number, ten digits.
        :raises Exists: there is such a node.
        :raises Unknown: as in `set`.
        """
        ttl_ms = milliseconds(ttl_seconds)
        command = commands.Add(path, checked(value), sequential, ephemeral, ttl_ms)
        return self._write(command, word)

    def delete(
        self, path: str, *, if_rev: int | None = None, tree: bool = False, word: str | None = None
    ) -> Deferred[Written]:
        """Delete a node. That of a lock is better left to `Lock.release`, which deletes it, too.

        :param if_rev: as in `set`.
        :param tree: with all that is below it.
        :param word: as in `set`.
        :raises NoEntry: there is no such node.
        :raises NotEmpty: it has children, and ``tree`` was not asked for.
        :raises RevisionMismatch: it has changed after ``if_rev``.
        :raises Locked: as in `set`.
        :raises Unknown: as in `set`.
        """
        return self._write(commands.Delete(path, if_rev, tree), word)

    def revert(
        self, path: str, rev: int, *, if_rev: int | None = None, word: str | None = None
    ) -> Deferred[Written]:
        """Set a node back to what it held at a revision: an ordinary write, with its errors.

        :param rev: the revision whose value is wanted.
        :param if_rev: as in `set`.
        :param word: as in `set`.
        :raises NoEntry: there was no such node.
        :raises TooLate: the history that ``rev`` needs is gone.
        """
        return self._write(commands.Revert(path, rev, if_rev), word)

    def blame(self, path: str, *, local: bool = False) -> Deferred[Entry]:
        """Return who gave a node the value that it has, and when.

        :raises NoEntry: there is no such node.
        """

        def only(found: Entries) -> Entry:
            return found.entries[0]

        return self._ask(commands.Blame(path, local)).addCallback(only)

    def outcome(self, word: str) -> Deferred[Written | Committed]:
        """Return what the write was answered that had the id ``word``, without doing anything.

        Its errors, too, come as they came; of a lock ``rev`` is the token. Of a transaction with
        `Transaction.get` whose first row is an error only that is told: commit it
        again, with its ``word``, for the whole answer.

        :raises NoEntry: the session knows of no such write.
        """
        return self._ask(commands.Outcome(word))

    def transaction(self) -> Transaction:
        """Return a transaction that is to be put together."""
        return Transaction(self._ask)

    # -- locks ----------------------------------------------------------------------------------
    def lock(
        self,
        path: str,
        value: bytes | None = None,
        *,
        shared: bool = False,
        wait_seconds: float | None = 0.0,
        delay_seconds: float = 0.0,
    ) -> Deferred[Lock]:
        """Take a lock for the client's `session`; fair, in order of arrival.

        To cancel the Deferred gives the place in the queue up, or the lock where it was granted
        meanwhile. The place, like the lock, outlives servers and goes with the session.

        :param value: what its node holds meanwhile; without it, what is there.
        :param shared: beside others who share it.
        :param wait_seconds: how long to wait in line: not at all, unless said; ``None``: for as
            long as it takes.
        :param delay_seconds: how long nobody else gets the lock after its holder's session was
            over. Not after `Lock.release`.
        :raises Locked: it is held by others, and waiting was not wanted; or this client holds it,
            or waits for it, already.
        :raises TimedOut: it was not granted in ``wait_seconds``.
        :raises SessionExpired: the session was lost meanwhile.
        """
        wait_ms = milliseconds(SPAN_SECONDS_MAX if wait_seconds is None else wait_seconds)
        delay_ms = milliseconds(delay_seconds)
        content = None if value is None else checked(value)
        command = commands.Lock(path, content, shared, wait_ms or 0, delay_ms or 0)
        try:
            return self.session().lock(command)
        except CoordError as error:
            return fail(error)

    def unlock(self, path: str, *, word: str | None = None) -> Deferred[Written]:
        """Give up the lock at ``path``, or the place in its queue, as `Lock.release` does.

        :raises NotHeld: the session has neither.
        """
        try:
            return self.session().unlock(path, word)
        except CoordError as error:
            return fail(error)

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

    def log(self, glob: str, *, limit: int | None = None, local: bool = False) -> Deferred[Entries]:
        """Return who changed what matches, newest first, as far back as history is kept.

        :param limit: at most so many changes, 1 or more.
        """
        return self._ask(commands.Log(glob, local, limit))

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

    def add_member(
        self, name: str, address: str, *, is_observer: bool = False
    ) -> Deferred[Written]:
        """Add a node to the cluster: it learns, and gets its vote by itself once it is close.

        As with every change of members the Deferred fires once the cluster goes by it, and the
        client's secret must be an admin's. One change is made at a time.

        :param address: where the other nodes reach it, ``HOST:PORT``.
        :param is_observer: it never votes, until `promote_member`.
        :raises Exists: there is a node of that name already.
        :raises BadRequest: that is no name or no address, or the change would lose the quorum.
        :raises Denied: who asks is no admin.
        :raises Unknown: the answer was lost, or did not come in time: see `members`.
        """
        change = commands.ChangeMembers(commands.Deed.ADD, name, address, is_observer=is_observer)
        return self._ask(change)

    def remove_member(self, name: str, *, force: bool = False) -> Deferred[Written]:
        """Remove a node from the cluster; it stops, and keeps what it has. Errors as above.

        :param force: also where too few of those who are left are up.
        :raises NoEntry: there is no such node.
        """
        return self._ask(commands.ChangeMembers(commands.Deed.REMOVE, name, force=force))

    def promote_member(self, name: str, *, force: bool = False) -> Deferred[Written]:
        """Give an observer its vote, if it is close; parameters and errors as above."""
        return self._ask(commands.ChangeMembers(commands.Deed.PROMOTE, name, force=force))

    def replace_member(
        self, old: str, new: str, address: str, *, force: bool = False
    ) -> Deferred[Written]:
        """Add a node that takes the vote of another in one step, once it is close.

        The Deferred fires when ``new`` learns. Parameters and errors as above.

        :param new: may be ``old`` itself, which is then admitted anew, on an empty disk.
        """
        change = commands.ChangeMembers(commands.Deed.REPLACE, old, address, new, force=force)
        return self._ask(change)

    def plan(self, change: commands.ChangeMembers) -> Deferred[tuple[str, ...]]:
        """Return in lines for people what a change of members would come to; nothing is done.

        Errors as above.
        """

        def rows(items: Items) -> tuple[str, ...]:
            return items.rows

        return self._ask(msgspec.structs.replace(change, plan=True)).addCallback(rows)

    def ping(self) -> Deferred[None]:
        """Return once the server has answered."""
        return self._ask(commands.Ping())

    def _write(self, command: commands.Plain, word: str | None) -> Deferred[Any]:
        return self._ask(command if word is None else commands.Once(word, command))

    def _ask(self, command: commands.Command) -> Deferred[Any]:
        try:
            return self.request(command)
        except CoordError as error:
            return fail(error)


def _member(row: str) -> Member:
    name, address, part, state = [*row.split(" "), "", "", ""][:4]
    return Member(name, address, part, state == "up")
