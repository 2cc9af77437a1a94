"""Restoring into a store: what is written, what is left alone, and what befalls it on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Genesis, Level, Lock, OpenSession, Set
from coord.errors import CoordError, Unavailable, Unknown
from coord.paths import order_key
from coord.results import Row
from coord.testing import MemoryClient, MemoryStore
from coord.tools.backup_files import Refused
from coord.tools.backup_restore import AGAIN_SECONDS, PATIENCE_SECONDS, Counts, Restore
from coord.tools.progress import Progress

ROWS = [
    Row("/", 9, b"root"),
    Row("/a", 3, b"1"),
    Row("/a/b", 4, b"2"),
    Row("/ctl/cluster", 1, b"other"),
    Row("/z", 8, b"\0"),
]
RULES = Row("/ctl/acl", 7, b"bob may read /a/**\n")


class Restores(SynchronousTestCase):
    """One restore into a store in memory."""

    def setUp(self) -> None:
        """Found a cluster."""
        self.store = MemoryStore()
        self.store.perform(Genesis("here", (("n1", "h:1"),)))
        self.client = MemoryClient(self.store)

    def begin(self, rows: list[Row], **options: bool) -> Deferred[Counts]:
        """Begin to restore."""
        progress = Progress("nodes", len(rows), screen=io.StringIO(), now=lambda: 0.0)
        self.restore = Restore(self.client.clock, self.client, progress, **options)
        rules = next((row for row in rows if row.path == RULES.path), None)
        return ensureDeferred(self.restore.run(rows, rules))

    def run_restore(self, rows: list[Row], **options: bool) -> Counts:
        """Restore, and return what was done."""
        return self.successResultOf(self.begin(rows, **options))

    def values(self) -> dict[str, bytes]:
        """Return what the store holds beside what is the cluster's."""
        page = self.successResultOf(self.client.walk("/**"))
        return {row.path: row.value for row in page.rows if not row.path.startswith("/ctl/")}

    def test_empty(self) -> None:
        """An empty store has the nodes of the backup afterwards, but for the cluster's own."""
        counts = self.run_restore(ROWS)
        self.assertEqual(self.values(), {row.path: row.value for row in ROWS if row.rev != 1})
        self.assertEqual((counts.made, counts.control, counts.rev), (4, 1, self.store.rev))
        cluster = self.successResultOf(self.client.get("/ctl/cluster"))
        self.assertEqual(cluster.value, b"here")

    def test_not_empty(self) -> None:
        """A store with nodes is refused, and nothing is written."""
        self.successResultOf(self.client.set("/mine", b"x"))
        rev = self.store.rev
        refusal = self.failureResultOf(self.begin(ROWS), Refused)
        self.assertIn("/mine", str(refusal.value))
        self.assertEqual(self.store.rev, rev)

    def test_into_non_empty(self) -> None:
        """Told so, it writes what differs, and leaves what is the same, and what is only there."""
        for path, value in (("/a", b"1"), ("/m", b"mine"), ("/z", b"old"), ("/zz", b"mine")):
            self.successResultOf(self.client.set(path, value))
        counts = self.run_restore(ROWS, into_non_empty=True)
        self.assertEqual((counts.made, counts.replaced, counts.same, counts.others), (2, 1, 1, 2))
        wanted = {row.path: row.value for row in ROWS if row.rev != 1}
        self.assertEqual(self.values(), {**wanted, "/m": b"mine", "/zz": b"mine"})

    def test_again(self) -> None:
        """A second time finds that everything is there."""
        self.run_restore(ROWS)
        rev = self.store.rev
        counts = self.run_restore(ROWS, into_non_empty=True)
        self.assertEqual((counts.same, counts.made, self.store.rev), (4, 0, rev))

    def test_rules(self) -> None:
        """Rules of access are there before what they hide; other ones are left, unless told."""
        rows = sorted([*ROWS, RULES], key=lambda row: order_key(row.path))
        counts = self.run_restore(rows)
        self.assertEqual((counts.made, counts.control), (5, 1))
        found = self.successResultOf(self.client.get("/ctl/acl"))
        first = self.successResultOf(self.client.get("/"))
        self.assertEqual(found.value, RULES.value)
        self.assertLess(found.rev, first.rev)
        self.assertEqual(self.run_restore(rows, into_non_empty=True).same, 5)

    def test_other_rules(self) -> None:
        """Rules that are there already are replaced only where that was asked for."""
        self.successResultOf(self.client.set("/ctl/acl", b"* may read /**\n"))
        refusal = self.failureResultOf(self.begin([RULES]), Refused)
        self.assertIn("/ctl/acl", str(refusal.value))
        counts = self.run_restore([RULES], without_rules=True)
        self.assertEqual((counts.made, counts.replaced, counts.control), (0, 0, 1))
        self.assertEqual(self.run_restore([RULES], into_non_empty=True).replaced, 1)

    def test_rules_refused(self) -> None:
        """Who may not write rules is told what to do."""
        refusal = self.failureResultOf(self.begin([Row("/ctl/acl", 1, b"no rule")]), Refused)
        self.assertIn("--without-rules", str(refusal.value))

    def test_lifetimes(self) -> None:
        """A lifetime begins anew; one that the backup does not have is taken away."""
        self.successResultOf(self.client.set("/a", b"old", ttl_seconds=5))
        self.run_restore([Row("/a", 1, b"1"), Row("/b", 2, b"2", 1_500)], into_non_empty=True)
        lives = [self.successResultOf(self.client.stat(path)).ttl_seconds for path in ("/a", "/b")]
        self.assertEqual(lives, [None, 1.5])

    def test_of_sessions(self) -> None:
        """What goes with somebody's session is left alone, and told of as such."""
        session = Caller("x", "h:1", Level.ADMIN, "0123456789abcdef")
        for write in (
            OpenSession(session.session, b"", 9000),
            Set("/a", b"x", ephemeral=True),
            Lock("/z", b"x"),
        ):
            self.store._store.apply(write, 0, session)
        for dry_run in (True, False):
            counts = self.run_restore(ROWS, into_non_empty=True, dry_run=dry_run)
            self.assertEqual((counts.kept, counts.first_kept, counts.made), (2, "/a", 2))

    def test_dry_run(self) -> None:
        """A dry run counts and writes nothing."""
        rev = self.store.rev
        counts = self.run_restore(ROWS, dry_run=True)
        self.assertEqual((counts.made, counts.control, self.store.rev), (4, 1, rev))
        self.assertIn("4 made", counts.describe())

    def test_lost_answers(self) -> None:
        """A write whose fate is unknown is looked at and not done twice."""
        restoring = self.begin(ROWS)
        self.successResultOf(restoring)
        again = MemoryStore()
        self.client = MemoryClient(again)
        real = self.client.request
        lost: list[str] = []

        def lose(command: Any) -> Deferred[Any]:
            done: Deferred[Any] = real(command)
            if isinstance(command, Set) and command.path not in lost:
                lost.append(command.path)
                return done.addCallback(lambda _: _raise(Unknown("lost")))
            return done

        self.client.request = lose  # type: ignore[method-assign]
        restoring = self.begin(ROWS)
        for _ in range(10):
            self.client.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.successResultOf(restoring).made, 4)
        self.assertEqual((again.rev, len(lost)), (4, 4))

    def test_unavailable_for_a_while(self) -> None:
        """A cluster without a quorum is waited for."""
        restoring = self.begin_interrupted()
        self.client.clock.advance(PATIENCE_SECONDS / 2)
        self.assertNoResult(restoring)
        self.client.refuse_with(None)
        self.client.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.successResultOf(restoring).made, 4)

    def test_unavailable_for_long(self) -> None:
        """After a minute it is given up, and what was done is known."""
        restoring = self.begin_interrupted()
        self.client.clock.pump([1.0] * int(PATIENCE_SECONDS + 2))
        self.failureResultOf(restoring, Unavailable)
        self.assertEqual(self.restore.counts.made, 1)

    def begin_interrupted(self) -> Deferred[Counts]:
        """Begin a restore whose cluster takes one write and then no more."""

        def rows() -> Iterator[Row]:
            for number, row in enumerate(ROWS):
                if number == 1:
                    self.client.refuse_with(Unavailable("no quorum"))
                yield row

        progress = Progress("nodes", screen=io.StringIO(), now=lambda: 0.0)
        self.restore = Restore(self.client.clock, self.client, progress)
        return ensureDeferred(self.restore.run(rows()))

    def test_somebody_else(self) -> None:
        """What somebody else writes meanwhile is never overwritten."""

        def rows() -> Iterator[Row]:
            yield ROWS[1]
            self.successResultOf(self.client.set("/z", b"theirs"))
            yield ROWS[4]

        progress = Progress("nodes", screen=io.StringIO(), now=lambda: 0.0)
        restore = Restore(self.client.clock, self.client, progress)
        counts = self.successResultOf(ensureDeferred(restore.run(rows())))
        self.assertEqual((counts.made, counts.kept, counts.first_kept), (1, 1, "/z"))
        self.assertEqual(self.values()["/z"], b"theirs")

    def test_refused_node(self) -> None:
        """A node that the cluster does not take is named."""
        refusal = self.failureResultOf(self.begin([Row("/big", 1, bytes(2_000_000))]), Refused)
        self.assertIn("/big could not be written: TOO_LARGE", str(refusal.value))

    def test_any_state_into_any_other(self) -> None:
        """Whatever there is and whatever was, afterwards the backup's nodes are as they were."""
        random = Random(3)
        for _ in range(20):
            self.setUp()
            for _ in range(random.randrange(30)):
                self.client.set(_path(random), b"%d" % random.randrange(3))
            before = self.values()
            backup = {_path(random): b"%d" % random.randrange(3) for _ in range(25)}
            rows = [Row(path, 1, backup[path]) for path in sorted(backup, key=order_key)]
            counts = self.run_restore(rows, into_non_empty=True)
            self.assertEqual(self.values(), before | backup)
            self.assertEqual(counts.same, len(before.items() & backup.items()))
            self.assertEqual(counts.others, len(before.keys() - backup.keys()))


def _path(random: Random) -> str:
    return "/" + "/".join(random.choice("ab0 ") for _ in range(random.randint(1, 3)))


def _raise(error: CoordError) -> None:
    raise error
