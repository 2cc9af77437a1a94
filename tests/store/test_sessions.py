"""Sessions: who may take one up, and what is over with it."""

from __future__ import annotations

from coord.commands import Add, EndSession, OpenSession, Set
from coord.errors import Denied, Exists, NoEntry, NoSession, Overloaded, SessionExpired, TooLarge
from coord.events import Event, Kind
from coord.results import Opened, SessionRow, Value, Written
from coord.store import parts, sessions
from coord.store.news import SessionOver
from coord.store.sessions import key_hash
from tests.store.users import TIMEOUT_MS, UsersTestCase


class OpeningTests(UsersTestCase):
    """A session is opened, known by its id, and taken up with its key."""

    def test_opened(self) -> None:
        """Whoever opens a session is told its id and timeout; nothing in the tree changes."""
        result = self.do("", OpenSession("s1", key_hash("k"), TIMEOUT_MS))
        self.assertEqual(result, Opened("s1", TIMEOUT_MS))
        self.assertEqual(self.store.rev, 0)
        self.assertEqual(dict(self.store.timeouts_ms), {"s1": TIMEOUT_MS})

    def test_taken_up(self) -> None:
        """Who knows id and key may take it up."""
        self.open("s1")
        self.assertEqual(self.resume("s1", "s1"), Opened("s1", TIMEOUT_MS))

    def test_wrong_key(self) -> None:
        """Who knows only the id may not, and the key is nowhere to be read."""
        self.do("", OpenSession("s1", key_hash("the key"), TIMEOUT_MS))
        self.refused(self.resume("s1", "another"), Denied)
        self.store.seal()
        image = b"".join(self.store.picture().pieces())
        self.assertNotIn(b"the key", image)
        self.assertNotIn("the key", repr(self.store.sessions()))

    def test_unknown(self) -> None:
        """A session that never was is told from one that expired."""
        self.open("s1", "s2")
        self.lapse("s1")
        self.end("s2")
        self.refused(self.resume("s1", "s1"), SessionExpired)
        self.refused(self.resume("s2", "s2"), NoSession)
        self.refused(self.resume("s3", "s3"), NoSession)

    def test_expired_forgotten(self) -> None:
        """Of those that expired the last ones are remembered."""
        self.patch(sessions, "SESSIONS_EXPIRED_KEPT", 2)
        self.open("s1", "s2", "s3")
        for session in ("s1", "s2", "s3"):
            self.lapse(session)
        self.refused(self.resume("s1", "s1"), NoSession)
        self.refused(self.resume("s2", "s2"), SessionExpired)

    def test_id_used(self) -> None:
        """No id is given to two sessions."""
        self.open("s1", "s2")
        self.lapse("s2")
        for session in ("s1", "s2"):
            self.refused(self.do("", OpenSession(session, b"x", 1)), Exists)
        self.assertEqual(self.resume("s1", "s1"), Opened("s1", TIMEOUT_MS))

    def test_too_many(self) -> None:
        """There is a bound to how many are open; one that ends makes room."""
        self.patch(sessions, "SESSIONS_MAX", 2)
        self.open("s1", "s2")
        self.refused(self.do("", OpenSession("s3", b"x", 1)), Overloaded)
        self.end("s1")
        self.assertEqual(self.do("", OpenSession("s3", b"x", 1)), Opened("s3", 1))

    def test_shown(self) -> None:
        """People are shown who opened a session, when, and what it has."""
        self.open("s1", "s2")
        self.ephemeral("s1", "/e")
        self.token("s1", "/l")
        self.place("s2", "/l")
        first, second = self.store.sessions()
        expected = SessionRow(
            session="s1", author="anonymous@h:1", opened_ms=1001, timeout_ms=TIMEOUT_MS,
            nodes=1, locks=("/l",), waits=(),
        )  # fmt: skip
        self.assertEqual(first, expected)
        self.assertEqual((second.session, second.waits), ("s2", ("/l",)))
        self.assertEqual(self.store.nodes_of("s1"), 3)
        self.assertEqual(self.store.nodes_of("s9"), 0)


class EndTests(UsersTestCase):
    """All that a session owned goes with it."""

    def test_one_revision(self) -> None:
        """All its nodes go in one revision, with one event each, in path order."""
        self.open("s1", "s2")
        for path in ("/b", "/a/z", "/a/y", "/c/d/e"):
            self.ephemeral("s1", path)
        self.ephemeral("s2", "/a/x")
        self.set("/f")
        self.assertEqual(self.end("s1"), Written(7))
        gone = [Event(7, Kind.DEL, path) for path in ("/a/y", "/a/z", "/b", "/c/d/e")]
        self.assertEqual(self.events(6), gone)
        self.assertEqual(self.walk("/**"), ["/a/x", "/f"])
        self.assertEqual(self.names("/"), ["a", "f"])

    def test_owned_nothing(self) -> None:
        """The end of a session that owned nothing makes no revision."""
        self.open("s1")
        self.set("/a")
        self.assertEqual(self.end("s1"), Written(1))
        self.assertEqual(self.store.rev, 1)

    def test_expires_alike(self) -> None:
        """A session that was not kept alive goes as one that was ended does."""
        self.open("s1")
        self.ephemeral("s1", "/a")
        self.assertEqual(self.lapse("s1"), Written(2))
        self.assertEqual(self.walk("/**"), [])

    def test_told(self) -> None:
        """Its node hears of the end, at which revision, and whether it expired."""
        self.open("s1", "s2", "s3")
        self.ephemeral("s1", "/a")
        self.end("s1")
        self.lapse("s2", "s3")
        over = [SessionOver("s1", 2, False), SessionOver("s2", 2, True), SessionOver("s3", 2, True)]
        self.assertEqual(self.news(SessionOver), over)
        self.assertEqual(self.store.news(), [])

    def test_over(self) -> None:
        """What is over cannot be ended again, and expires no more."""
        self.open("s1", "s2")
        self.end("s1")
        self.lapse("s2")
        self.refused(self.end("s1"), NoSession)
        self.refused(self.end("s2"), SessionExpired)
        self.refused(self.do("", EndSession("s3")), NoSession)
        self.lapse("s1", "s2", "s3")
        self.assertEqual(self.store.rev, 0)

    def test_needs(self) -> None:
        """What needs a session is refused to who has none, or one that is over."""
        self.open("s1")
        self.lapse("s1")
        for write in (Set("/a", b"", ephemeral=True), Add("/a", b"", ephemeral=True)):
            self.assertEqual(self.refused(self.do("", write), NoSession), "this needs a session")
            self.refused(self.do("s9", write), NoSession)
            self.refused(self.do("s1", write), SessionExpired)

    def test_plain_writes(self) -> None:
        """A plain write of one whose session is over just works."""
        self.open("s1")
        self.lapse("s1")
        self.assertEqual(self.do("s1", Set("/a", b"x")), Written(1))

    def test_each_its_own_revision(self) -> None:
        """Sessions that expire together go one after the other."""
        self.open("s1", "s2")
        self.ephemeral("s1", "/a")
        self.ephemeral("s2", "/b")
        self.assertEqual(self.lapse("s1", "s2"), Written(4))
        self.assertEqual([event.rev for event in self.events(2)], [3, 4])


class EphemeralTests(UsersTestCase):
    """A node that goes with a session."""

    def test_owner(self) -> None:
        """STAT tells whose it is; of others it tells nobody."""
        self.open("s1")
        self.ephemeral("s1", "/a")
        self.set("/b")
        self.assertEqual((self.facts("/a").owner, self.facts("/b").owner), ("s1", None))

    def test_stays_owned(self) -> None:
        """A plain SET, by anybody, changes the value and not the owner."""
        self.open("s1")
        self.ephemeral("s1", "/a")
        self.set("/a", b"new")
        self.assertEqual(self.facts("/a").owner, "s1")
        self.end("s1")
        self.assertEqual(self.walk("/**"), [])

    def test_taken_over(self) -> None:
        """Another session's SET ephemeral makes the node its own."""
        self.open("s1", "s2")
        self.ephemeral("s1", "/a")
        self.ephemeral("s2", "/a")
        self.end("s1")
        self.assertEqual(self.walk("/**"), ["/a"])
        self.end("s2")
        self.assertEqual(self.walk("/**"), [])

    def test_made_ephemeral(self) -> None:
        """A node that was there for good may be given to a session."""
        self.open("s1")
        self.set("/a")
        self.ephemeral("s1", "/a")
        self.end("s1")
        self.assertEqual(self.walk("/**"), [])

    def test_deleted(self) -> None:
        """A node that was deleted and made again is nobody's."""
        self.open("s1")
        self.ephemeral("s1", "/a")
        self.delete("/a")
        self.set("/a")
        self.end("s1")
        self.assertEqual(self.walk("/**"), ["/a"])

    def test_deleted_with_a_tree(self) -> None:
        """The same holds where it went with all above it."""
        self.open("s1")
        for number in range(20):
            self.ephemeral("s1", f"/t/{number}/x")
        self.delete("/t", tree=True)
        self.set("/t/3/x")
        self.assertEqual(self.store.nodes_of("s1"), 0)
        self.end("s1")
        self.assertEqual(self.walk("/**"), ["/t/3/x"])

    def test_has_children(self) -> None:
        """One that has children loses its value and stays for them as a parent."""
        self.open("s1")
        self.ephemeral("s1", "/a", b"up")
        self.set("/a/b")
        rev = self.made(self.end("s1"))
        self.assertEqual(self.events(rev - 1), [Event(rev, Kind.DEL, "/a")])
        self.assertEqual(self.walk("/**"), ["/a/b"])
        self.assertIsNone(self.facts("/a").owner)
        self.delete("/a/b")
        self.assertEqual(self.names("/"), [])
        self.assertEqual([event.path for event in self.events(rev)], ["/a/b"])

    def test_children_too(self) -> None:
        """Parent and children of one session go together."""
        self.open("s1")
        for path in ("/a", "/a/b", "/a/b/c/d", "/a/e"):
            self.ephemeral("s1", path)
        rev = self.made(self.end("s1"))
        self.assertEqual(
            [event.path for event in self.events(rev - 1)], ["/a", "/a/b", "/a/b/c/d", "/a/e"]
        )
        self.assertEqual(self.store.node_count, 1)

    def test_sequential(self) -> None:
        """Numbers of sequential children are never given again, also when all went at once."""
        self.open("s1", "s2")
        for number in range(1, 4):
            result = self.do("s1", Add("/q/n-", b"", sequential=True, ephemeral=True))
            self.assertEqual(result, Written(number, f"/q/n-{number:010d}"))
        self.end("s1")
        result = self.do("s2", Add("/q/n-", b"", sequential=True, ephemeral=True))
        self.assertEqual(result, Written(5, "/q/n-0000000004"))

    def test_too_many(self) -> None:
        """A session owns so many nodes and no more; what it has it may set again."""
        self.patch(parts, "SESSION_NODES_MAX", 2)
        self.open("s1")
        self.ephemeral("s1", "/a")
        self.ephemeral("s1", "/b")
        self.refused(self.ephemeral("s1", "/c"), TooLarge)
        self.assertEqual(self.ephemeral("s1", "/a"), Written(3))
        several = (Set("/d", b"", ephemeral=True), Set("/e", b"", ephemeral=True))
        self.delete("/b")
        self.assertIn("2 TOO_LARGE", str(self.together(*several, session="s1")))

    def test_past(self) -> None:
        """What went can be read as it was."""
        self.open("s1")
        self.ephemeral("s1", "/a", b"up")
        self.end("s1")
        self.assertEqual(self.get("/a", 1), Value(1, b"up"))
        self.assertEqual(self.facts("/a", 1).owner, "s1")

    def test_many_lives(self) -> None:
        """However often a node comes with a session and goes with it, each life can be read."""
        for life in range(7):
            self.open(f"s{life}")
            self.ephemeral(f"s{life}", "/a", b"%d" % life)
            self.end(f"s{life}")
        for life in range(7):
            self.assertEqual(self.get("/a", 2 * life + 1), Value(2 * life + 1, b"%d" % life))
            self.refused(self.get("/a", 2 * life + 2), NoEntry)
        self.assertEqual(len(self.events()), 14)
