"""``coord-backup restore``: the nodes of a backup into a cluster, as ordinary writes.

The rows of the backup and the nodes of the cluster, both in path order, are walked along each
other. A node that is the same in both is left alone; any other is written under the condition
that it still is as it was seen. So nothing that somebody else writes meanwhile is ever
overwritten, a write whose fate is unknown can be tried again, and a restore that was broken off
goes on where it ended when it is begun again. ``/ctl`` belongs to the cluster and is left out,
but for the rules of access, ``/ctl/acl``: they come first, so that nobody sees what they hide.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Final, cast

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from coord.client import Page, Verbs
from coord.commands import Set
from coord.errors import (
    BadRequest,
    CoordError,
    Denied,
    IsDirectory,
    Locked,
    NoEntry,
    Overloaded,
    RevisionMismatch,
    TooLate,
    Unavailable,
    Unknown,
)
from coord.limits import MIB
from coord.paths import CONTROL, encode, order_key
from coord.results import Row, Value
from coord.tools.backup_files import Refused
from coord.tools.backup_stream import ACL
from coord.tools.progress import Progress

WINDOW_WRITES: Final = 256
"""Writes under way at once."""
WINDOW_BYTES: Final = 4 * MIB
"""Bytes of values under way at once, or one value."""
PAGE_ROWS: Final = 500
PATIENCE_SECONDS: Final = 60.0
"""How long the cluster may take no write before the restore is given up."""
AGAIN_SECONDS: Final = 0.2
LOOKS_MAX: Final = 20
"""How often a node is looked at anew that somebody else keeps changing."""
_TRANSIENT: Final = (Unknown, Unavailable, Overloaded)


@attrs.define
class Counts:
    """What a restore did, or (``--dry-run``) would do, in nodes.

    ``kept`` are those that somebody else changed meanwhile, or whose lock or session they go with;
    ``others`` those of the cluster that the backup does not have; ``rev`` is the newest revision
    that the restore made.
    """

    made: int = 0
    replaced: int = 0
    same: int = 0
    kept: int = 0
    control: int = 0
    others: int = 0
    rev: int = 0
    first_kept: str = ""

    def describe(self) -> str:
        """Return the counts in one line."""
        words = [f"{self.made:,} made", f"{self.replaced:,} replaced", f"{self.same:,} the same"]
        if self.others:
            words.append(f"{self.others:,} not in the backup and left alone")
        if self.control:
            words.append(f"{self.control:,} of {CONTROL} left out, which belongs to the cluster")
        if self.kept:
            words.append(
                f"{self.kept:,} somebody else's, or changed meanwhile, and left as they are"
            )
        return ", ".join(words)


class _Present:
    """The nodes of the cluster beside ``/ctl``, in path order, one ahead."""

    def __init__(self, client: Verbs) -> None:
        self._client = client
        self._rows = self._walk()
        self.row: Row | None = None

    async def close(self) -> None:
        """Look no further."""
        await self._rows.aclose()

    async def step(self) -> None:
        """Look at the next one; ``row`` is ``None`` after the last."""
        self.row = await anext(self._rows, None)

    async def _walk(self) -> AsyncGenerator[Row, None]:
        """Yield the rows; where the history of the picture goes, take a newer one for the rest."""
        after: str | None = None
        while True:
            try:
                pages = self._client.walk_pages("/**", after=after, page_rows=PAGE_ROWS)
                async with aclosing(cast("AsyncGenerator[Page, None]", pages)):
                    async for page in pages:
                        for row in page.rows:
                            after = row.path
                            if not is_control(row.path):
                                yield row
                return
            except TooLate:
                continue


class Restore:
    """One restore. ``counts`` tells what it did so far, also after a failure.

    :param clock: the reactor, or what tells the time in its place.
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Verbs,
        progress: Progress,
        *,
        into_non_empty: bool = False,
        dry_run: bool = False,
        without_rules: bool = False,
    ) -> None:
        self._clock = clock
        self._client = client
        self._progress = progress
        self._into_non_empty = into_non_empty
        self._dry_run = dry_run
        self._without_rules = without_rules
        self._under_way = 0
        self._bytes = 0
        self._room: Deferred[None] | None = None
        self._problem: BaseException | None = None
        self._heard = clock.seconds()
        self.counts = Counts()

    async def run(self, rows: Iterable[Row], rules: Row | None = None) -> Counts:
        """Write ``rows``, which are in path order, after the ``rules`` of access among them.

        :raises Refused: where the cluster is not empty, or does not take a node.
        :raises CoordError: where the cluster takes no writes for a minute.
        """
        present = _Present(self._client)
        try:
            await present.step()
            if present.row is not None and not self._into_non_empty:
                raise Refused(
                    f"the cluster is not empty, {_shown(present.row.path)} is there:"
                    " --into-non-empty writes what differs and leaves the rest alone"
                )
            if rules is not None:
                await self._put_rules(rules)
            for row in rows:
                await self._row(row, present)
                self._progress.add(1)
            while present.row is not None:
                self.counts.others += 1
                await present.step()
        finally:
            await present.close()
            await self._settled()
        if self._problem is not None:
            raise self._problem
        return self.counts

    async def _row(self, row: Row, present: _Present) -> None:
        """Bring one node to where the backup has it; the write may still be under way then."""
        if is_control(row.path):
            self.counts.control += row.path != ACL or self._without_rules
            return
        key = order_key(row.path)
        while present.row is not None and order_key(present.row.path) < key:
            self.counts.others += 1
            await present.step()
        found = present.row
        if found is None or order_key(found.path) != key:
            await self._write(row, 0)
            return
        await present.step()
        if found.value == row.value:
            self.counts.same += 1
        else:
            await self._write(row, found.rev)

    async def _put_rules(self, rules: Row) -> None:
        """Bring the rules of access to where the backup has them."""
        if self._without_rules:
            return
        try:
            found = await self._client.get(ACL)
        except NoEntry:
            found = Value(0, b"")
        if found.value == rules.value and found.rev:
            self.counts.same += 1
            return
        if found.rev and not self._into_non_empty:
            raise Refused(f"the cluster has other rules of access, in {ACL}: --into-non-empty")
        self._count(found.rev)
        if self._dry_run:
            return
        try:
            await self._patiently(partial(self._set, rules, found.rev))
        except (Denied, RevisionMismatch, BadRequest) as error:
            raise Refused(
                f"the rules of access, {ACL}, could not be written: {error.code} {error.text};"
                " show an admin's secret, or leave them out with --without-rules"
            ) from error

    async def _write(self, row: Row, if_rev: int) -> None:
        if self._dry_run:
            if if_rev and await self._is_passing(row):
                self._keep(row)
            else:
                self._count(if_rev)
            return
        while self._under_way >= WINDOW_WRITES or self._bytes > WINDOW_BYTES:
            await self._wait_for_room()
        if self._problem is not None:
            raise self._problem
        self._under_way += 1
        self._bytes += len(row.value)

        def done(outcome: object) -> None:
            self._under_way -= 1
            self._bytes -= len(row.value)
            room, self._room = self._room, None
            if room is not None:
                room.callback(None)

        writing = ensureDeferred(self._put(row, if_rev))
        writing.addErrback(self._failed)
        writing.addBoth(done)

    async def _wait_for_room(self) -> None:
        self._room = Deferred()
        await self._room

    async def _settled(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await self._wait_for_room()

    def _failed(self, failure: Failure) -> None:
        if self._problem is None:
            self._problem = failure.value

    async def _put(self, row: Row, if_rev: int) -> None:
        """Write one node, until its fate is known."""
        replaces = if_rev
        if replaces and await self._is_passing(row):
            self._keep(row)
            return
        for _ in range(LOOKS_MAX):
            try:
                await self._patiently(partial(self._set, row, if_rev))
                self._count(replaces)
                return
            except (RevisionMismatch, NoEntry):
                seen = await self._patiently(partial(self._look, row))
            except Locked:
                break
            except _TRANSIENT:
                raise
            except CoordError as error:
                raise Refused(
                    f"{_shown(row.path)} could not be written: {error.code} {error.text}"
                ) from error
            if seen is None:
                self._count(replaces)  # by a try whose answer was lost, or by somebody like us
                return
            if seen < 0:
                break
            if_rev = seen
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self.counts.kept += 1
        self.counts.first_kept = self.counts.first_kept or row.path

    async def _is_passing(self, row: Row) -> bool:
        """Say whether what is there goes with a session: what we wrote there would, too."""
        try:
            facts = await self._client.stat(row.path)
        except CoordError:
            return False
        return facts.owner is not None

    async def _set(self, row: Row, if_rev: int) -> None:
        """Set a node; a lifetime begins anew, and one that the backup has not is taken away."""
        ttl_ms = row.ttl_ms if row.ttl_ms or if_rev else None
        written = await self._client.request(Set(row.path, row.value, if_rev, ttl_ms=ttl_ms))
        self.counts.rev = max(self.counts.rev, written.rev)

    async def _look(self, row: Row) -> int | None:
        """Return ``None`` where the node is as wanted, else ``if=`` for the next try, -1 for none.

        A parent that was made by the way is a node, but nobody gave it a value yet.
        """
        try:
            found = await self._client.get(row.path)
        except NoEntry:
            return 0
        except IsDirectory:
            return max(1, (await self._client.stat(row.path)).rev)
        return None if found.value == row.value else -1

    async def _patiently(self, ask: Callable[[], Awaitable[int | None]]) -> int | None:
        """Ask until there is an answer; raise what kept us where there is none for a minute."""
        while True:
            try:
                answer = await ask()
            except _TRANSIENT:
                if self._clock.seconds() - self._heard > PATIENCE_SECONDS:
                    raise
                await deferLater(self._clock, AGAIN_SECONDS)
                continue
            except CoordError:
                self._heard = self._clock.seconds()
                raise
            self._heard = self._clock.seconds()
            return answer

    def _count(self, if_rev: int) -> None:
        if if_rev:
            self.counts.replaced += 1
        else:
            self.counts.made += 1


def is_control(path: str) -> bool:
    """Say whether a node belongs to the cluster."""
    return path == CONTROL or path.startswith(f"{CONTROL}/")


def _shown(path: str) -> str:
    return encode(path).decode()
