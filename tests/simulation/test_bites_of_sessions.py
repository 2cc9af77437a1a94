"""The judges of sessions, locks, transactions, ids and rules bite: each broken rule is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coord.commands import Caller, Level, Resume, Transaction
from coord.paths import Glob
from coord.replicator import deadlines, spans
from coord.replicator.keeper import Keeper, Kept
from coord.replicator.lapses import Lapses
from coord.results import Entry, Opened, Result, Rows
from coord.simulation.cluster import Options
from coord.simulation.disk import DiskMix
from coord.simulation.faults import Faults
from coord.simulation.network import Mix
from coord.store import log
from coord.store.access import Rules
from coord.store.draft import Draft
from coord.store.locks import Holder, Lock, Locks, Place
from coord.store.machine import Store
from coord.store.news import Delay
from coord.store.sessions import Session, Sessions
from coord.store.tree import Mark, Version
from coord.store.writes import Writer
from tests.simulation import hunting

CALM = Options(nodes=3, leases=True, image_every_bytes=1 << 30, network=Mix(), disk=DiskMix())


class Lonely(Faults):
    """One node after the other hears nobody for three seconds."""

    def _strike(self) -> None:
        if not self._stopped:
            self._cluster.network.heal_all()
            self._cluster.network.isolate(self._dice.choice(self._cluster.names))
            self._world.schedule(3.0, None, self._strike)


class Bites(hunting.Hunt):
    """Rules switched off one by one."""

    # -- locks -----------------------------------------------------------------------------
    def test_two_holders(self) -> None:
        """A lock that is given to whoever asks is seen in the log."""
        self.patch(Lock, "allows", lambda self, shared: True)
        self.hunt(5, "locks: token")

    def test_two_believers(self) -> None:
        """A lock that is given to whoever asks is seen by those who believe to hold it."""
        self.patch(Lock, "allows", lambda self, shared: True)
        self.hunt(5, "beliefs:")

    def test_last_come_first_served(self) -> None:
        """A queue whose newest place has its turn first is no queue."""

        def first(self: Lock) -> Place | None:
            return next(reversed(self.queue.values()), None)

        self.patch(Lock, "first", first)
        self.hunt(20, "locks: place", "locks: s")

    def test_no_lock_delay(self) -> None:
        """A lock whose holder was lost, and that others get before the lock-delay is over."""
        whole = spans.Spans.begin

        def begin(self: spans.Spans, span: Any, now: float) -> None:
            is_delay = isinstance(span, Delay)
            whole(self, msgspec.structs.replace(span, span_ms=1) if is_delay else span, now)

        self.patch(spans.Spans, "begin", begin)
        self.hunt(40, "locks: token")

    def test_token_of_the_past(self) -> None:
        """A transaction that is done under a token which is no more."""

        def anybody(self: Locks, key: str, token: int) -> Holder | None:
            lock = self.live.get(key)
            return None if lock is None else next(iter(lock.holders.values()))

        self.patch(Locks, "holder", anybody)
        self.hunt(20, "transactions: ")

    # -- sessions --------------------------------------------------------------------------
    def test_expired_early(self) -> None:
        """A leader that counts half of each timeout breaks what was promised to clients."""
        whole = Lapses._due

        def due(self: Lapses, timeout_ms: int, now: float) -> float:
            return whole(self, timeout_ms // 2, now)

        self.patch(Lapses, "_due", due)
        self.hunt(5, "sessions: ")

    def test_new_leader_forgets(self) -> None:
        """A leader that gives nobody the time in which it did not lead expires who was kept."""
        whole = Lapses.lead

        def lead(self: Lapses, ballot: Any, now: float) -> None:
            leads_anew = ballot != self.ballot
            whole(self, ballot, now)
            for session in self._store.timeouts_ms if leads_anew else ():
                self._ends.set(session, now + 0.1)

        self.patch(Lapses, "lead", lead)
        self.hunt(10, "sessions: ")

    def test_kept_by_nobody(self) -> None:
        """A node that confirms by itself what only the leader can."""
        whole = Keeper.keep

        def keep(self: Keeper, kept: Kept, told: Any) -> None:
            whole(self, kept, lambda problem: None)
            told(None)

        self.patch(Keeper, "keep", keep)
        self.hunt(10, "sessions: ", "beliefs: ", options=CALM, faults=Lonely)

    def test_unwarned(self) -> None:
        """A node that says nothing when it cannot tell whether sessions are kept."""
        self.patch(Kept, "is_due", lambda self, seconds: False)
        self.hunt(10, "sessions: s")

    def test_untold(self) -> None:
        """A node that keeps the end of a session from those who are attached to it."""
        whole = Keeper.over

        def over(self: Keeper, news: Any) -> None:
            kept = self._kept.get(news.session)
            if kept is not None:
                kept.attached.clear()
            whole(self, news)

        self.patch(Keeper, "over", over)
        self.hunt(25, "sessions: nobody told")

    def test_for_ever(self) -> None:
        """A session that nobody keeps and that nobody ends."""
        self.patch(Lapses, "_take_sessions", lambda self, now: [])
        self.hunt(3, "sessions: session")

    def test_any_key(self) -> None:
        """A session that is given to who does not have its key."""

        def resume(self: Sessions, read: Resume, _caller: Caller) -> Result:
            session = self.find(read.session)
            if not isinstance(session, Session):
                return session
            return Opened(session.id, session.identity.timeout_ms)

        self.patch(Sessions, "resume", resume)
        self.hunt(10, "sessions: a wrong key")

    # -- nodes that go by themselves ---------------------------------------------------------
    def test_left_behind(self) -> None:
        """A session that leaves one of its nodes behind."""
        whole = Draft.lose

        def lose(self: Draft, keys: list[str], mark: Mark) -> None:
            whole(self, keys[1:] if mark.verb in ("END", "EXPIRE") else keys, mark)

        self.patch(Draft, "lose", lose)
        self.hunt(10, "ephemeral: ")

    def test_too_early(self) -> None:
        """A lifetime that is over before its time."""
        self.patch(deadlines, "_STRETCH", 0.9)
        self.hunt(5, "lifetimes: ")

    # -- transactions, ids, rules, logs ---------------------------------------------------------
    def test_by_halves(self) -> None:
        """A transaction of which the last line is not done."""
        whole = Writer.transaction

        def transaction(self: Writer, write: Transaction, *more: Any) -> Any:
            return whole(self, Transaction(write.parts[:-1]), *more)

        self.patch(Writer, "transaction", transaction)
        self.hunt(5, "transactions: ")

    def test_done_again(self) -> None:
        """A write whose id is forgotten is done again."""
        self.patch(Sessions, "remember", lambda self, session, word, answer: None)
        self.hunt(20, "once: ")

    def test_rules_for_nobody(self) -> None:
        """Rules that nobody looks at."""

        def may(self: Rules, caller: Caller, level: int, path: str) -> bool:
            return caller.level >= Level.ADMIN or not path.startswith("/ctl")

        self.patch(Rules, "may", may)
        self.hunt(10, "access: ")

    def test_events_for_all(self) -> None:
        """Events that are shown to whom the rules hide them from."""
        whole = Rules.may

        def may(self: Rules, caller: Caller, level: int, path: str) -> bool:
            return level == Level.READ or whole(self, caller, level, path)

        self.patch(Rules, "may", may)
        self.hunt(10, "access: c0 saw")

    def test_refused_to_all(self) -> None:
        """Rights that nobody has, and that no rule takes away."""

        def may(self: Rules, caller: Caller, level: int, path: str) -> bool:
            return caller.level >= Level.ADMIN

        self.patch(Rules, "may", may)
        self.hunt(5, "access: ")

    def test_another_author(self) -> None:
        """A log that names the wrong one now and then."""
        whole, told = log.entry, 0

        def entry(version: Version, path: str) -> Entry:
            nonlocal told
            told += 1
            right = whole(version, path)
            return msgspec.structs.replace(right, author="nobody") if told % 50 == 0 else right

        self.patch(log, "entry", entry)
        self.hunt(10, "log: ")

    def test_lying_difference(self) -> None:
        """A difference that leaves out what has changed."""
        whole = Store.difference

        def difference(self: Store, glob: Glob, after_rev: int, caller: Caller) -> Rows:
            rows = whole(self, glob, after_rev, caller)
            kept: Sequence[Any] = [row for row in rows.rows if row is not None]
            return Rows(rows.rev, iter(kept[1:]))

        self.patch(Store, "difference", difference)
        self.hunt(20, "watches: ", options=msgspec.structs.replace(CALM, history_revisions=60))
