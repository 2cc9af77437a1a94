"""A store and its twin, taken through the same life."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import (
    CLUSTER,
    Blame,
    Caller,
    Get,
    Level,
    List,
    Log,
    OpenSession,
    Outcome,
    Resume,
    Stat,
    Walk,
)
from coord.errors import Denied, Lagged, TooLate
from coord.paths import Glob
from coord.results import (
    Aside,
    Granted,
    Row,
    Rows,
    Value,
)
from coord.store.machine import Store
from coord.store.sessions import key_hash
from coord.store.watches import Watch
from tests.store import twin_reads
from tests.store.life_parts import Imaging, Reading, Watching, loaded, plain
from tests.store.strategies_of_sessions import Known
from tests.store.twin import Twin
from tests.store.twin_tables import lock_rows, session_rows

READER = Caller("watcher", "h:1", Level.ADMIN)


class Life:
    """A store, a mate that is fed alike and often made anew from an image, and their twin."""

    def __init__(self, test: SynchronousTestCase, history: int, dice: Random) -> None:
        self.test = test
        self.history = history
        self.dice = dice
        self.store = Store(history)
        self.mate = Store(history)
        self.twin = Twin()
        self.known = Known()
        self.readings: list[Reading] = []
        self.watchings: list[Watching] = []
        self.time_ms = 1000
        self.opened = 0
        self.follower: Watch | None = None
        self.lasts: dict[str, tuple[bytes, int]] = {}
        self.imaging: Imaging | None = None

    @property
    def horizon(self) -> int:
        """The oldest of the last revisions that the store was told to keep."""
        return max(0, self.twin.rev - self.history + 1)

    def step(self, step: Any, caller: Caller = CLUSTER) -> None:
        """Take one step."""
        if isinstance(step, tuple):
            getattr(self, step[0])(*step[1:])
        else:
            self.write(step, caller)

    # -- writes --------------------------------------------------------------------------
    def write(self, write: Any, caller: Caller = CLUSTER) -> None:
        """Write to all three."""
        self.time_ms += 7
        if self.imaging is not None:
            self.imaging.deeds.append((write, self.time_ms, caller))
        result = self.store.apply(write, self.time_ms, caller)
        expected = self.twin.apply(write, self.time_ms, caller)
        said = f"{write} by {caller}"
        self.test.assertEqual(plain(result), expected, said)
        self.test.assertEqual(self.mate.apply(write, self.time_ms, caller), result, said)
        self.test.assertEqual(self.store.rev, self.twin.rev, said)
        self.test.assertEqual(self.store.horizon, self.horizon, said)
        self.hear(said)
        if isinstance(result, Granted):
            self.known.tokens.append((getattr(write, "path", "/a"), result.token))

    def hear(self, said: str) -> None:
        """Compare the news that they tell."""
        news = self.store.news()
        self.test.assertEqual(self.mate.news(), news, said)
        told, self.twin.news = self.twin.news, []
        self.test.assertEqual(in_order(news), in_order(told), said)
        self.known.spans = self.twin.spans()
        self.known.rev = self.twin.rev
        world = self.twin.world
        self.known.open = list(world.sessions)
        self.known.holds = [
            (one.session, path)
            for path, lock in world.locks.items()
            for one in lock.holders
            if not one.lost
        ]

    def open(self) -> None:
        """Open a session for somebody."""
        self.opened += 1
        session = f"{self.opened:016x}"
        self.known.sessions.append(session)
        opening = OpenSession(session, key_hash(f"key-{session}"), 1000 * self.opened)
        self.write(opening, Caller("ann", "h:2", Level.WRITE))

    def turn(self) -> None:
        """End a batch and a turn."""
        if self.imaging is not None:
            self.imaging.deeds.append(None)
        for store in (self.store, self.mate):
            store.seal()
            for watch in store.publish():
                self.test.assertTrue(watch.ready)
        self.test.assertEqual(self.mate.digest, self.store.digest)

    # -- reads ---------------------------------------------------------------------------
    def rev(self, back: int | None) -> int | None:
        """Return the revision meant."""
        return None if back is None else max(0, self.twin.rev - back)

    def refused(self, result: Any, rev: int | None) -> bool:
        """Say whether ``rev`` cannot be read, and see that the store says so."""
        if rev is None or self.horizon <= rev <= self.twin.rev:
            return False
        self.test.assertEqual(result.code, "TOO_LATE" if rev < self.horizon else "BAD_REQUEST")
        return True

    def shut(self, result: Any, caller: Caller) -> bool:
        """Say whether a caller may read nothing at all, and see that the store says so."""
        if not twin_reads.access(self.twin, caller).is_shut():
            return False
        self.test.assertEqual(plain(result), "DENIED")
        return True

    def get(self, path: str, back: int | None, caller: Caller = READER) -> None:
        """Read a node and its facts."""
        rev = self.rev(back)
        value = self.store.answer(Get(path, rev=rev), caller)
        facts = self.store.answer(Stat(path, rev=rev), caller)
        if not twin_reads.access(self.twin, caller).may_read(path):
            self.test.assertEqual((plain(value), plain(facts)), ("DENIED", "DENIED"))
            return
        if self.refused(value, rev) or self.refused(facts, rev):
            return
        at = self.twin.rev if rev is None else rev
        node = self.twin.copies[at].get(path)
        if node is None:
            self.test.assertEqual((plain(value), plain(facts)), ("NOENT", "NOENT"))
            return
        self.test.assertEqual(facts, twin_reads.facts(self.twin, path, rev))
        wanted = "ISDIR" if node.value is None else Value(node.rev, node.value)
        self.test.assertEqual(plain(value), wanted)

    def blame(self, path: str, caller: Caller = READER) -> None:
        """Ask who gave a node its value."""
        entry = self.store.answer(Blame(path), caller)
        self.test.assertEqual(plain(entry), twin_reads.blame(self.twin, path, caller))

    def names(self, path: str, back: int | None, caller: Caller = READER) -> None:
        """Begin to list children."""
        rev = self.rev(back)
        result = self.store.answer(List(path, rev=rev), caller)
        if not twin_reads.access(self.twin, caller).may_list(path):
            self.test.assertEqual(plain(result), "DENIED")
            return
        if self.refused(result, rev):
            return
        at = self.twin.rev if rev is None else rev
        expected = twin_reads.names(self.twin, path, at, caller)
        if isinstance(expected, str):
            self.test.assertEqual(plain(result), expected)
        else:
            self.begin(result, at, expected)

    def walk(
        self,
        glob: str,
        back: int | None,
        after: str | None,
        limit: int | None,
        caller: Caller = READER,
    ) -> None:
        """Begin to walk."""
        rev = self.rev(back)
        result = self.store.answer(Walk(glob, rev=rev, after=after, limit=limit), caller)
        if self.refused(result, rev) or self.shut(result, caller):
            return
        at = self.twin.rev if rev is None else rev
        self.begin(result, at, twin_reads.walk(self.twin, glob, at, caller, after, limit))

    def log(self, glob: str, limit: int | None, caller: Caller = READER) -> None:
        """Begin to read who changed what."""
        result = self.store.answer(Log(glob, limit=limit), caller)
        if self.shut(result, caller):
            return
        expected = twin_reads.log(self.twin, glob, self.horizon, caller, limit)
        self.begin(result, self.twin.rev, expected)
        self.readings[-1].is_log = True

    def difference(self, glob: str, back: int | None, caller: Caller = READER) -> None:
        """Begin to read what has changed since a revision that may be long gone."""
        after = self.rev(back or 0) or 0
        expected = twin_reads.difference(self.twin, glob, after, caller)
        try:
            result = self.store.difference(Glob.parse(glob.encode()), after, caller)
        except Denied:
            self.test.assertEqual(expected, [])
        else:
            self.begin(result, self.twin.rev, expected)

    def ask_sessions(self, caller: Caller, word: str) -> None:
        """Ask what sessions are asked for, with the right key and a wrong one."""
        session = caller.session
        for read in (
            Outcome(word),
            Resume(session, f"key-{session}"),
            Resume(session, "another"),
            Resume("no such session", ""),
        ):
            result = self.store.answer(read, caller)
            self.test.assertEqual(plain(result), self.twin.answer(read, caller), f"{read} {caller}")

    def tables(self) -> None:
        """Compare what people are shown of sessions and locks, and all that the owner needs."""
        for store in (self.store, self.mate):
            self.test.assertEqual(store.sessions(), session_rows(self.twin))
            self.test.assertEqual(store.locks(), lock_rows(self.twin))
            self.test.assertEqual(in_order(store.spans()), in_order(self.twin.spans()))
            timeouts = {name: one.timeout_ms for name, one in self.twin.world.sessions.items()}
            self.test.assertEqual(dict(store.timeouts_ms), timeouts)
            for session in self.known.sessions:
                if session in self.twin.world.sessions:
                    cost = twin_reads.end_cost(self.twin, session)
                    self.test.assertEqual(store.nodes_of(session), cost)
                for path, lock in self.twin.world.locks.items():
                    place = lock.place(session)
                    number = None if place is None else place.number
                    self.test.assertEqual(store.place(path, session), number)

    def begin(self, result: Any, rev: int, expected: list[Any]) -> None:
        """Keep rows that were begun."""
        assert isinstance(result, Rows), result
        self.test.assertEqual(result.rev, rev)
        reading = Reading(result, expected)
        reading.rules = self.rules()
        self.readings.append(reading)

    def rules(self) -> Any:
        """Return something that changes when the rules of access do."""
        node = self.twin.copies[-1].get("/ctl/acl")
        return None if node is None else node.rev

    def pull(self, count: int) -> None:
        """Read on in all that was begun; rows are shown by the rules of the moment."""
        for reading in list(self.readings):
            if reading.rules != self.rules():
                reading.rows.close()
                self.readings.remove(reading)
                continue
            if reading.pull(count):
                whole = reading.is_whole(self.horizon)
                self.test.assertTrue(whole, f"{reading.seen} instead of {reading.expected}")
                self.readings.remove(reading)

    def drop(self, which: int) -> None:
        """Give up reading one."""
        if which < len(self.readings):
            reading = self.readings.pop(which)
            if reading.rules == self.rules():
                self.test.assertTrue(reading.is_beginning())
            reading.rows.close()

    # -- watches -------------------------------------------------------------------------
    def watch(self, glob: str, back: int | None) -> None:
        """Begin to watch."""
        after = None if back is None else max(0, self.twin.rev - back)
        compiled = Glob.parse(glob.encode())
        if after is not None and after < self.horizon:
            with self.test.assertRaises(TooLate) as raised:
                self.store.watch(compiled, after, lambda: None)
            self.test.assertIn(f"from revision {self.horizon} ", raised.exception.text)
            return
        watch = self.store.watch(compiled, after, lambda: None)
        self.test.assertEqual(watch.rev, self.twin.rev if after is None else after)
        self.watchings.append(Watching(watch, glob))

    def look_back(self, glob: str, caller: Caller) -> None:
        """Watch all of the kept past with a caller's rights, and leave."""
        expected = twin_reads.events(self.twin, glob, self.horizon, caller)
        try:
            watch = self.store.watch(Glob.parse(glob.encode()), self.horizon, lambda: None, caller)
        except Denied:
            self.test.assertEqual(expected, [])
            return
        seen = []
        while watch.ready:
            seen += watch.take(7)
        watch.close()
        self.test.assertEqual(seen, expected)

    def take(self, which: int, limit: int) -> None:
        """Take events from one watch."""
        if which >= len(self.watchings):
            return
        watching = self.watchings[which]
        try:
            events = watching.watch.take(limit)
        except Lagged as error:
            self.test.assertIn(f"revision {self.horizon}", error.text)
            last = watching.seen[-1].rev if watching.seen else watching.watch.rev
            self.test.assertLessEqual(last, self.horizon)
            self.test.assertFalse(watching.watch.ready)
            watching.lagged = True
            self.watchings.remove(watching)
        else:
            self.test.assertLessEqual(len(events), limit)
            watching.seen += events
        expected = twin_reads.events(self.twin, watching.glob, watching.watch.rev, READER)
        self.test.assertEqual(watching.seen, expected[: len(watching.seen)])

    def lasting(self) -> None:
        """Compare what lasts with what one sees who looked once and has followed since."""
        self.turn()
        rows, shown = self.store.answer(Walk("/**", lasting=True), READER), self.lasts
        assert isinstance(rows, Rows)
        now, ttl_ms = {}, 0
        for row in rows.rows:
            if isinstance(row, Row):
                now[row.path], ttl_ms = (row.value, ttl_ms), 0
            elif isinstance(row, Aside) and row.what.startswith("ttl="):
                ttl_ms = round(float(row.what[4:]) * 1000)
        self.test.assertEqual(now, twin_reads.lasting(self.twin))
        try:
            while self.follower is not None and self.follower.ready:
                for event in self.follower.take(3):
                    shown.pop(event.path, None)
                    if event.value is not None:
                        shown[event.path] = (event.value, event.ttl_ms)
        except Lagged:
            self.follower = None
        if self.follower is not None:
            self.test.assertEqual(shown, now)
        else:
            everything = Glob.parse(b"/**")
            self.follower = self.store.watch(everything, None, lambda: None, READER, lasting=True)
            self.lasts = now

    # -- images --------------------------------------------------------------------------
    def reload(self) -> None:
        """Go on with a mate made from an image, and see that it is the same store."""
        self.turn()
        pieces = [piece for piece in self.store.picture().pieces() if piece]
        again = loaded(self.store, self.history)
        self.test.assertEqual((again.rev, again.digest), (self.store.rev, self.store.digest))
        self.test.assertEqual(again.horizon, self.store.horizon)
        self.test.assertEqual([one for one in again.picture().pieces() if one], pieces)
        self.mate = again
        self.tables()

    def image(self, pieces: int) -> None:
        """Go on with an image that is made while the store goes on; begin one if there is none."""
        if self.imaging is None:
            self.turn()
            self.imaging = Imaging(self.store, self.history)
        elif self.imaging.take(pieces):
            self.turn()
            again, self.imaging = self.imaging.caught_up(), None
            self.test.assertEqual((again.rev, again.digest), (self.store.rev, self.store.digest))
            self.mate = again
            self.tables()

    def finish(self) -> None:
        """Read everything to its end and see that nothing is missing or left over."""
        while self.readings:
            self.pull(5)
        while self.imaging is not None:
            self.image(1)
        self.turn()
        for watching in list(self.watchings):
            while watching.watch.ready:
                self.take(self.watchings.index(watching), 2)
            if not watching.lagged:
                expected = twin_reads.events(self.twin, watching.glob, watching.watch.rev, READER)
                self.test.assertEqual(watching.seen, expected)
            watching.watch.close()
        if self.follower is not None:
            self.lasting()
            assert self.follower is not None
            self.follower.close()
        self.test.assertEqual(self.store.watch_count, 0)
        self.see_nothing_kept()

    def see_nothing_kept(self) -> None:
        """See that a store from an image, which begins with what it needs, has no less."""
        again = loaded(self.store, self.history)
        self.test.assertEqual(kept(self.store), kept(again))
        for at in range(self.horizon, self.twin.rev + 1):
            expected = twin_reads.walk(self.twin, "/**", at, READER)
            self.begin(self.store.answer(Walk("/**", rev=at), READER), at, expected)
        for path in self.twin.copies[-1]:
            self.names(path, None)
            self.get(path, 0)
            self.get(path, None)
        while self.readings:
            self.pull(50)


def in_order(news: Any) -> list[Any]:
    """Return news in an order of their own, errors as codes."""
    return sorted((plain(one) for one in news), key=repr)


def kept(store: Store) -> tuple[list[str], dict[str, list[int]]]:
    """Return the keys that a store knows, and from when it has older versions of them."""
    tree = store._tree
    older = {}
    for key in list(tree.past):
        past = tree._past(key)
        assert past is not None
        items = [past] if hasattr(past, "since") else past.items[past.start :]
        older[key] = [version.since for version in items]
    return tree.order.span("", "\x01", 1 << 30), older
