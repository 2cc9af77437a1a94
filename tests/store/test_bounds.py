"""With every bound as tight as can be, a store made from an image goes on as the other one does."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Level, OpenSession, Outcome
from coord.store import answers, granting, marks, parts, picture, sequences, sessions, writes
from coord.store.machine import Store
from coord.store.sessions import key_hash
from tests.store.life_parts import loaded
from tests.store.strategies import CALM, dice
from tests.store.strategies_of_sessions import WORDS, Known, a_whole_write

TIGHT = (
    (answers, "OUTCOMES_PER_SESSION_MAX", 3),
    (answers, "OUTCOME_BYTES_MAX", 260),
    (granting, "LOCK_WAITERS_MAX", 2),
    (granting, "SESSION_LOCKS_MAX", 2),
    (marks, "_AUTHORS_MAX", 2),
    (parts, "DELETE_NODES_MAX", 3),
    (parts, "SESSION_NODES_MAX", 3),
    (picture, "_PIECE_BYTES_SOFT", 200),
    (sequences, "SEQUENCE_PARENTS_MAX", 2),
    (sessions, "SESSIONS_EXPIRED_KEPT", 2),
    (sessions, "SESSIONS_MAX", 3),
    (writes, "OUTCOME_BYTES_MAX", 260),
    (writes, "TRANSACTION_PARTS_MAX", 4),
)


class Pair:
    """A store that lives through, and one that is made anew from its image again and again."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.lasting = Store(20)
        self.renewed = Store(20)
        self.known = Known()
        self.time_ms = 1000

    def write(self, write: object, caller: Caller) -> None:
        """Write to both, and see that they answer and tell alike."""
        self.time_ms += 7
        said = f"{write} by {caller}"
        result, again = (
            store.apply(write, self.time_ms, caller)  # type: ignore[arg-type]
            for store in (self.lasting, self.renewed)
        )
        self.test.assertEqual(result, again, said)
        self.test.assertEqual(self.lasting.news(), self.renewed.news(), said)
        self.learn()

    def learn(self) -> None:
        """Take note of what there is, for what is drawn next."""
        store, known = self.lasting, self.known
        known.rev, known.spans = store.rev, list(store.spans())
        known.open = [row.session for row in store.sessions()]
        known.holds = [
            (one.session, row.path)
            for row in store.locks()
            for one in row.holders
            if not one.is_lost
        ]

    def open(self, number: int) -> None:
        """Open a session, if there may be one more."""
        session = f"{number:016x}"
        self.known.sessions.append(session)
        opening = OpenSession(session, key_hash("key"), 1000)
        self.write(opening, Caller("ann", "h:2", Level.WRITE))

    def renew(self) -> None:
        """Make the one anew from the other's image."""
        self.lasting.seal()
        self.renewed.seal()
        self.test.assertEqual(self.lasting.digest, self.renewed.digest)
        self.renewed = loaded(self.lasting, 20)
        self.renewed.news()
        for look in (Store.sessions, Store.locks, lambda store: sorted(map(repr, store.spans()))):
            self.test.assertEqual(look(self.lasting), look(self.renewed))
        for session in self.known.open:
            for word in WORDS:
                asker = Caller("ann", "", Level.WRITE, session)
                told, again = (
                    store.answer(Outcome(word), asker) for store in (self.lasting, self.renewed)
                )
                self.test.assertEqual(told, again)


class BoundsTests(SynchronousTestCase):
    """What is forgotten first is the same in both."""

    @settings(CALM, max_examples=40)
    @given(dice)
    def test_lives(self, random: Random) -> None:
        """Any writes, every bound met again and again, and an image every now and then."""
        pair = Pair(self)
        for number in range(200):
            chance = random.random()
            if chance < 0.12:
                pair.open(number)
            elif chance < 0.2:
                pair.renew()
            else:
                pair.write(*a_whole_write(random, pair.known))
        pair.renew()

    def setUp(self) -> None:
        """Make every bound tight."""
        for module, name, bound in TIGHT:
            self.patch(module, name, bound)
