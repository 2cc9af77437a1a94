"""Locks: what it means for a node that its lock is held."""

from __future__ import annotations

from coord.commands import Add, Caller, Delete, Level, Lock, Set, Unlock
from coord.errors import (
    Denied,
    Exists,
    Locked,
    NoEntry,
    NoSession,
    NotEmpty,
    NotHeld,
    SessionExpired,
)
from coord.events import Event, Kind
from coord.results import Granted, Value, Written
from coord.store import standing
from tests.store.users import UsersTestCase


class HeldTests(UsersTestCase):
    """A lock that is held always has its node."""

    def setUp(self) -> None:
        """Open some sessions."""
        super().setUp()
        self.open("s1", "s2", "s3", "s4")

    def test_granted(self) -> None:
        """The token is the revision that set the node, to the value given or to nothing."""
        self.set("/x")
        self.assertEqual(self.lock("s1", "/l", b"host-7"), Granted(2))
        self.assertEqual(self.get("/l"), Value(2, b"host-7"))
        self.assertEqual(self.lock("s1", "/m"), Granted(3))
        self.assertEqual(self.get("/m"), Value(3, b""))

    def test_facts(self) -> None:
        """STAT tells the holder, the token and how many wait; of no lock it tells nothing."""
        self.token("s1", "/l")
        self.place("s2", "/l")
        self.place("s3", "/l")
        facts = self.facts("/l")
        self.assertEqual((facts.owner, facts.holders, facts.shared), ("s1", ("s1",), False))
        self.assertEqual((facts.token, facts.waiting), (1, 2))
        self.set("/a")
        self.assertEqual((self.facts("/a").holders, self.facts("/a").token), ((), None))

    def test_not_waiting(self) -> None:
        """Who does not want to wait is told that it is locked, and nothing is changed."""
        self.token("s1", "/l", b"1")
        told = self.refused(self.lock("s2", "/l", b"2"), Locked)
        self.assertEqual(told, "/l is locked; STAT tells by which session, BLAME by whom")
        self.assertEqual(self.get("/l"), Value(1, b"1"))

    def test_given_up(self) -> None:
        """UNLOCK takes the node away, where nobody waits."""
        self.token("s1", "/a/l")
        self.assertEqual(self.unlock("s1", "/a/l"), Written(2))
        self.assertEqual(self.events(1), [Event(2, Kind.DEL, "/a/l")])
        self.assertEqual(self.names("/"), [])

    def test_value_before(self) -> None:
        """A node that held a value holds it again afterwards."""
        self.set("/a", b"mine")
        self.token("s1", "/a", b"locked")
        self.unlock("s1", "/a")
        self.assertEqual(self.get("/a"), Value(3, b"mine"))
        self.assertIsNone(self.facts("/a").owner)

    def test_value_kept(self) -> None:
        """Without a value of its own the lock leaves what is there."""
        self.set("/a", b"mine")
        self.token("s1", "/a")
        self.assertEqual(self.get("/a"), Value(2, b"mine"))

    def test_owner_before(self) -> None:
        """A node that goes with another session, or after a while, still does, afterwards."""
        self.ephemeral("s2", "/a", b"e")
        self.mortal("/b", 5000, b"m")
        self.token("s1", "/a")
        self.token("s1", "/b")
        self.assertEqual((self.facts("/a").owner, self.facts("/b").ttl_seconds), ("s1", None))
        self.unlock("s1", "/a")
        self.unlock("s1", "/b")
        self.assertEqual((self.facts("/a").owner, self.facts("/b").ttl_seconds), ("s2", 5.0))
        self.end("s2")
        self.assertEqual(self.walk("/**"), ["/b"])

    def test_owner_gone_meanwhile(self) -> None:
        """If that session ends while the lock is held, the node goes with the lock."""
        self.ephemeral("s2", "/a", b"e")
        self.token("s1", "/a")
        self.end("s2")
        self.assertEqual(self.holders("/a"), ("s1",))
        self.unlock("s1", "/a")
        self.assertEqual(self.walk("/**"), [])

    def test_lifetime_stands_still(self) -> None:
        """A lifetime that is up while the lock is held does nothing; it begins anew afterwards."""
        self.mortal("/b", 5000, b"m")
        self.token("s1", "/b")
        self.lapse(nodes=(("/b", 1), ("/b", 2)))
        self.assertEqual(self.holders("/b"), ("s1",))
        rev = self.made(self.unlock("s1", "/b"))
        self.lapse(nodes=(("/b", rev),))
        self.assertEqual(self.walk("/**"), [])

    def test_has_children(self) -> None:
        """A lock's node that has children stays for them when the lock is given up."""
        self.token("s1", "/l", b"1")
        self.set("/l/child")
        self.assertEqual(self.unlock("s1", "/l"), Written(3))
        self.assertEqual(self.events(2), [Event(3, Kind.DEL, "/l")])
        self.assertEqual(self.walk("/**"), ["/l/child"])
        self.assertEqual(self.lock("s2", "/l"), Granted(4))

    def test_root(self) -> None:
        """The root may be locked, and stays."""
        self.token("s1", "/", b"top")
        self.end("s1")
        self.assertEqual(self.walk("/**"), [])
        self.assertEqual(self.store.node_count, 1)

    def test_set_by_holder(self) -> None:
        """The holder may set the node; it goes with the lock all the same."""
        self.token("s1", "/l", b"1")
        self.assertEqual(self.do("s1", Set("/l", b"2", 1)), Written(2))
        self.assertEqual(self.do("s1", Set("/l", b"3", None, True, 50)), Written(3))
        self.assertIsNone(self.facts("/l").ttl_seconds)
        self.assertEqual(self.facts("/l").token, 1)
        self.unlock("s1", "/l")
        self.assertEqual(self.walk("/**"), [])

    def test_others(self) -> None:
        """Anybody else's SET, ADD or DEL is refused; that is the point of a lock."""
        self.token("s1", "/t/l")
        for session in ("s2", "", "s9"):
            self.refused(self.do(session, Set("/t/l", b"x")), Locked)
            self.refused(self.do(session, Delete("/t/l")), Locked)
            self.refused(self.do(session, Delete("/t", tree=True)), Locked)
            self.refused(self.do(session, Add("/t/l", b"x")), Exists)
        self.assertEqual(self.store.rev, 1)

    def test_deleted_by_holder(self) -> None:
        """The holder's DEL gives the lock up, and what was there before is deleted with it."""
        self.set("/l", b"before")
        self.token("s1", "/l")
        self.assertEqual(self.do("s1", Delete("/l")), Written(3))
        self.refused(self.get("/l"), NoEntry)
        self.refused(self.unlock("s1", "/l"), NotHeld)

    def test_deleted_with_children(self) -> None:
        """As ever a node with children goes only with tree."""
        self.token("s1", "/l")
        self.set("/l/x")
        self.refused(self.do("s1", Delete("/l")), NotEmpty)
        self.assertEqual(self.holders("/l"), ("s1",))
        self.do("s1", Delete("/l", tree=True))
        self.assertEqual((self.walk("/**"), self.store.locks()), ([], []))

    def test_tree_of_locks(self) -> None:
        """DEL tree gives up all of the caller's locks in it; those that are awaited stay."""
        for path in ("/t/a", "/t/b", "/t/c"):
            self.token("s1", path)
        self.set("/t/d/e")
        self.place("s2", "/t/b", b"mine now")
        self.assertEqual(self.do("s1", Delete("/t", tree=True)), Written(5))
        self.assertEqual(self.walk("/**"), ["/t/b"])
        self.assertEqual(self.holders("/t/b"), ("s2",))
        self.assertEqual([lock.path for lock in self.store.locks()], ["/t/b"])
        self.assertEqual(
            [event.kind.value for event in self.events(4)], ["del", "set", "del", "del"]
        )

    def test_again(self) -> None:
        """Who holds the lock already is told the same token; nothing is done."""
        token = self.token("s1", "/l", b"1")
        self.assertEqual(self.lock("s1", "/l", b"2"), Granted(token))
        self.assertEqual(self.get("/l"), Value(token, b"1"))
        self.refused(self.lock("s1", "/l", shared=True), Locked)

    def test_tokens_grow(self) -> None:
        """Whoever gets the lock has a greater token than all before."""
        tokens = []
        for _ in range(3):
            for session in ("s1", "s2"):
                tokens.append(self.token(session, "/l"))
                self.unlock(session, "/l")
        self.assertEqual(tokens, sorted(set(tokens)))

    def test_not_held(self) -> None:
        """What one does not hold one cannot give up."""
        self.token("s1", "/l")
        for session in ("s2", "s3"):
            self.refused(self.unlock(session, "/l"), NotHeld)
        self.refused(self.unlock("s1", "/m"), NotHeld)
        self.refused(self.unlock("", "/l"), NotHeld)
        self.refused(self.unlock("s9", "/l"), NoSession)
        self.lapse("s4")
        self.refused(self.unlock("s4", "/l"), SessionExpired)
        self.refused(self.lock("s4", "/l"), SessionExpired)
        self.refused(self.lock("", "/l"), NoSession)

    def test_ends_with_session(self) -> None:
        """Locks and nodes of a session go in one revision."""
        self.token("s1", "/l")
        self.token("s1", "/m")
        self.ephemeral("s1", "/e")
        self.assertEqual(self.lapse("s1"), Written(4))
        self.assertEqual([event.rev for event in self.events(3)], [4, 4, 4])
        self.assertEqual(self.store.locks(), [])

    def test_rights(self) -> None:
        """To lock is to write; to give up needs no right. Below /ctl nothing is locked."""
        self.token("s1", "/l")
        self.set("/ctl/acl", b"* read /**\nann write /mine")
        ann = Caller("ann", "h:1", Level.WRITE, "s1")
        self.refused(self.store.apply(Lock("/other"), 1, ann), Denied)
        self.assertEqual(self.store.apply(Lock("/mine"), 1, ann), Granted(3))
        self.assertEqual(self.store.apply(Unlock("/l"), 1, ann), Written(4))
        for path in ("/ctl/acl", "/ctl", "/ctl/members/n1"):
            self.refused(self.lock("s1", path), Denied)

    def test_very_many_holders(self) -> None:
        """Of very many who share a lock STAT names the newest: a line is only so long."""
        self.patch(standing, "LOCK_HOLDERS_SHOWN", 2)
        names = [f"r{number}" for number in range(4)]
        self.open(*names)
        for name in names:
            self.lock(name, "/r", shared=True, delay_ms=5 if name == "r3" else 0)
        self.lapse("r3")
        self.assertEqual(self.holders("/r"), ("r1", "r2"))


class AuthorTests(UsersTestCase):
    """Who did that: a lock's changes have authors too."""

    def verbs(self) -> list[tuple[int, str, str]]:
        """Return revision, verb and author of what happened to the lock."""
        return [
            (one.rev, one.mark.verb, one.mark.author)
            for rev in range(1, self.store.rev + 1)
            for one in self.store._history.changes(rev)
            if one.key == "\0l"
        ]

    def test_told(self) -> None:
        """A grant is by who gets the lock; an end by who ended it, or by the cluster."""
        self.open("s1", "s2", "s3")
        ann = Caller("ann", "h:2", Level.ADMIN, "s2")
        self.token("s1", "/l")
        self.store.apply(Lock("/l", None, False, 9000), 1, ann)
        self.place("s3", "/l")
        self.unlock("s1", "/l")
        self.store.apply(Unlock("/l"), 2, ann)
        self.end("s3")
        self.assertEqual(
            self.verbs(),
            [
                (1, "LOCK", "anonymous@h:1"),
                (2, "GRANT", "ann@h:2"),
                (3, "GRANT", "anonymous@h:1"),
                (4, "END", "anonymous@h:1"),
            ],
        )
