"""The nemesis's judges bite: an honest history passes, each doctored one is found out."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Add, Caller, Check, Command, Get, Level, Lock, Once, Set, Unlock
from coord.commands import Transaction as Together
from coord.events import Event, Kind
from coord.results import Committed, Entry, Granted, Result, Value, Written
from coord.simulation.checkers.watches import Watched
from coord.simulation.deeds import Deed, Hold, SessionLife
from coord.simulation.history import Operation
from coord.simulation.nemesis.judges import differing, judge
from coord.simulation.nemesis.past import Past
from coord.simulation.nemesis.record import Record

ROUND = 1
BEGAN_REV = 10
TIMEOUT_SECONDS = 2.0
KEY, LOCK, GUARDED, QUEUE = "/k/1.a", "/l/1.a", "/g/1.a", "/x/1.n-"
MARKERS = "/e/1."


class Story:
    """A round as it was told to clients, and as the nodes tell it afterwards."""

    def __init__(self) -> None:
        self.record = Record(ROUND)
        self.events: list[Event] = []
        self.entries: list[Entry] = []
        self.seconds = 1000.0

    # -- what nodes tell ------------------------------------------------------------------------
    def change(self, path: str, value: bytes | None, verb: str) -> int:
        """Let the next revision change a node; return it."""
        rev = BEGAN_REV + 1 + len(self.events)
        kind = Kind.DEL if value is None else Kind.SET
        self.events.append(Event(rev, kind, path, value))
        self.entries.append(Entry(rev, path, verb, "someone", int(1000 * self.seconds)))
        return rev

    def judged(self) -> list[str]:
        """Return what the judges say."""
        return judge(self.record, Past(self.events, self.entries, BEGAN_REV, MARKERS))

    # -- what clients were told -----------------------------------------------------------------
    def operate(self, client: str, command: Command, outcome: Result | None) -> None:
        """Let a client without a session ask, and be told."""
        moment = self.record.moment()
        self.record.history.operations.append(
            Operation(
                client=client,
                connection=0,
                group=moment,
                index=0,
                node="n1",
                command=command,
                invoked=moment,
                returned=None if outcome is None else self.record.moment(),
                outcome=outcome,  # type: ignore[arg-type]
            )
        )

    def deed(self, session: str, command: Command, outcome: Result | None) -> Deed:
        """Let a client with a session ask, and be told."""
        deed = Deed(
            client=f"owner of {session}",
            caller=Caller("", "", Level.ADMIN, session),
            node="n1",
            command=command,
            asked=self.record.moment(),
            asked_at=self.seconds,
        )
        if outcome is not None:
            deed.told, deed.told_at, deed.outcome = self.record.moment(), self.seconds, outcome
        self.record.ledger.deeds.append(deed)
        return deed

    def open(self, session: str) -> SessionLife:
        """Let a session begin, with its marker."""
        life = SessionLife(
            client=f"owner of {session}",
            session=session,
            timeout_seconds=TIMEOUT_SECONDS,
            opened_at=self.seconds,
            own=False,
            keeps=[],
            last_word_at=self.seconds,
            troubles=[],
        )
        self.record.ledger.lives[session] = life
        marker = Set(MARKERS + session, f"marker of {session}".encode(), ephemeral=True)
        rev = self.change(marker.path, marker.value, "SET")
        self.deed(session, Once("w1", marker), Written(rev))
        return life

    def expire(self, session: str) -> None:
        """Let a session expire as it should, after its timeout."""
        life = self.record.ledger.lives[session]
        self.seconds = max(self.seconds, life.lives_until + 0.3)
        self.change(MARKERS + session, None, "EXPIRE")

    def lock(self, session: str, value: bytes, shared: bool = False) -> Hold:
        """Let a session have the lock, and its client believe so."""
        token = self.change(LOCK, value, "LOCK")
        self.deed(session, Lock(LOCK, value, shared=shared, wait_ms=2000), Granted(token))
        hold = Hold(
            client=f"owner of {session}",
            session=session,
            path=LOCK,
            shared=shared,
            token=token,
            told_at=self.seconds,
        )
        self.record.ledger.holds.append(hold)
        return hold

    def unlock(self, hold: Hold, *, is_done: bool = True) -> None:
        """Let a holder give its lock up."""
        hold.given_up_at = self.seconds
        rev = self.change(LOCK, None, "UNLOCK") if is_done else 0
        self.deed(hold.session, Unlock(LOCK), Written(rev) if is_done else None)

    def write_under(self, hold: Hold, value: bytes) -> None:
        """Let something be written under a token, and be answered as done."""
        rev = self.change(GUARDED, value, "SET")
        write = Together((Check(LOCK, token=hold.token), Set(GUARDED, value)))
        self.deed(hold.session, write, Committed(rev))

    def append(self, session: str, value: bytes, word: str) -> None:
        """Let something be added under an id, and be answered."""
        name = f"{QUEUE}{len(self.events):010}"
        rev = self.change(name, value, "ADD")
        add = Add(QUEUE, value, sequential=True)
        self.deed(session, Once(word, add), Written(rev, name))

    def pass_seconds(self, seconds: float) -> None:
        """Let time go by."""
        self.seconds += seconds

    def watch(self, events: list[Event]) -> None:
        """Let a watcher of all keys have seen these events, to the end of the round."""
        watched = Watched(name="w", glob="/k/*", after_rev=BEGAN_REV, events=events, settled=True)
        self.record.watched.append(watched)


class Judges(SynchronousTestCase):
    """Histories as they should be, and what comes of touching them."""

    def assert_found(self, story: Story, *beginnings: str) -> None:
        """Assert that somebody objects in these words."""
        found = story.judged()
        self.assertTrue(any(one.startswith(beginnings) for one in found), found)

    def written(self) -> Story:
        """Return a story of a write that was answered."""
        story = Story()
        rev = story.change(KEY, b"one", "SET")
        story.operate("c0", Set(KEY, b"one"), Written(rev))
        return story

    def held(self) -> tuple[Story, Hold]:
        """Return a story of a session that holds the lock."""
        story = Story()
        story.open("s1")
        return story, story.lock("s1", b"first")

    # -- reads and writes -----------------------------------------------------------------------
    def test_honest(self) -> None:
        """A history in which all promises were kept passes."""
        story = self.written()
        story.operate("c1", Get(KEY), Value(BEGAN_REV + 1, b"one"))
        story.watch(story.events[:1])
        story.open("s1")
        story.open("s2")
        hold = story.lock("s1", b"first")
        story.write_under(hold, b"guarded")
        story.unlock(hold)
        story.pass_seconds(0.1)
        story.unlock(story.lock("s2", b"second"))
        story.append("s2", b"job", "w2")
        story.expire("s1")
        story.expire("s2")
        self.assertEqual(story.judged(), [])

    def test_stale_read(self) -> None:
        """A read that misses what was answered before is found, with and without revisions."""
        story = self.written()
        story.operate("c0", Set(KEY, b"two"), Written(story.change(KEY, b"two", "SET")))
        story.operate("c1", Get(KEY), Value(BEGAN_REV + 1, b"one"))
        self.assert_found(story, "linearizability: no order")
        self.assert_found(story, "linearizability: c1")

    def test_lost_write(self) -> None:
        """A write that was answered and is nowhere is found."""
        story = self.written()
        story.operate("c0", Set(KEY, b"two"), Written(BEGAN_REV + 2))
        self.assert_found(story, "durability: the cluster has lost")

    def test_refused_and_done(self) -> None:
        """A write that nobody asked for is found."""
        story = self.written()
        story.change(KEY, b"never asked for", "SET")
        self.assert_found(story, "at most once: nobody asked")

    def test_watch_with_a_gap(self) -> None:
        """A watcher that was not told of a change is found."""
        story = self.written()
        story.watch([])
        self.assert_found(story, "watches: ")

    def test_another_past(self) -> None:
        """A node whose past is another than the first one's is found."""
        story = self.written()
        doctored = [Event(BEGAN_REV + 1, Kind.SET, KEY, b"another")]
        told = {"n1": story.events, "n2": doctored}
        self.assertTrue(differing(told)[0].startswith("digests: n2 tells another past than n1"))
        self.assertEqual(differing({"n1": story.events, "n2": [*story.events]}), [])

    # -- locks ----------------------------------------------------------------------------------
    def test_two_holders(self) -> None:
        """A lock that a second client got before the first one's session was over is found."""
        story, _ = self.held()
        story.open("s2")
        story.pass_seconds(TIMEOUT_SECONDS / 2)
        story.lock("s2", b"second")
        self.assert_found(story, "beliefs: ")
        self.assert_found(story, "locks: ")

    def test_two_who_share(self) -> None:
        """Two who share a lock are no two holders."""
        story = Story()
        story.open("s1")
        story.open("s2")
        story.lock("s1", b"first", shared=True)
        story.lock("s2", b"second", shared=True)
        self.assertEqual(story.judged(), [])

    def test_kept_and_lost(self) -> None:
        """A lock that passed on within the time that a confirmed keep had promised is found."""
        story, _ = self.held()
        story.open("s2")
        story.pass_seconds(TIMEOUT_SECONDS + 0.3)
        for session in ("s1", "s2"):
            story.record.ledger.lives[session].keeps.append(story.seconds - 0.5)
        story.change(MARKERS + "s1", None, "EXPIRE")
        self.assert_found(story, "sessions: s1 expired")
        story.lock("s2", b"second")
        self.assert_found(story, "beliefs: ")

    def test_lesser_token(self) -> None:
        """A token that is not greater than one known before is found."""
        story, hold = self.held()
        story.unlock(hold)
        story.open("s2")
        story.deed("s2", Lock(LOCK, b"second"), Granted(hold.token - 1))
        self.assert_found(story, "tokens: ")

    def test_lost_token(self) -> None:
        """A write that was done under a token after its lock had been given up is found."""
        story, hold = self.held()
        story.unlock(hold)
        story.write_under(hold, b"too late")
        self.assert_found(story, "transactions: the lock was lost")

    # -- sessions, ids --------------------------------------------------------------------------
    def test_done_twice(self) -> None:
        """A write that was asked for again under its id and done again is found."""
        story, _ = self.held()
        story.append("s1", b"job", "w2")
        story.append("s1", b"job", "w2")
        self.assert_found(story, "once: ")

    def test_answered_and_not_done(self) -> None:
        """A write under an id that was answered and is nowhere is found."""
        story, _ = self.held()
        add = Add(QUEUE, b"job", sequential=True)
        story.deed("s1", Once("w2", add), Written(BEGAN_REV + 1, f"{QUEUE}0000000000"))
        self.assert_found(story, "durability: ")

    def test_left_behind(self) -> None:
        """An ephemeral node that outlives its session is found."""
        story = Story()
        story.open("s1")
        kept = Set("/e/1.left", b"left", ephemeral=True)
        story.deed("s1", kept, Written(story.change(kept.path, kept.value, "SET")))
        story.expire("s1")
        self.assert_found(story, "ephemeral: ")
