"""Images of what stands beside the tree: sessions, locks and answers."""

from __future__ import annotations

import msgspec

from coord.commands import Lock, Set
from coord.results import Granted, Queued, Written
from coord.store.image import Loading
from coord.store.locks import Before, Holder, Place
from coord.store.machine import Store
from coord.store.news import Delay, Patience
from coord.store.picture import (
    Answered,
    Base,
    Changes,
    Checksum,
    Departed,
    End,
    Expired,
    Header,
    Held,
    Holding,
    Opened,
    Piece,
    Waiting,
)
from coord.store.sessions import Identity
from coord.store.tree import Version, empty_root
from tests.store.users import UsersTestCase

SIZE_BYTES_MAX = 64 * 1024


def forged(*pieces: Piece) -> list[bytes]:
    """Return an image whose hash is right, whatever it holds."""
    checksum = Checksum()
    encoded = [checksum.add(msgspec.msgpack.encode(piece)) for piece in pieces]
    return [*encoded, msgspec.msgpack.encode(End(checksum.value()))]


def load(pieces: list[bytes]) -> Store:
    """Return the store that pieces make."""
    loading = Loading(30)
    for piece in pieces:
        loading.feed(piece)
    return loading.finish()


class RoundTripTests(UsersTestCase):
    """What comes back is the same store."""

    def setUp(self) -> None:
        """Make something of everything."""
        super().setUp()
        self.open("s1", "s2", "s3", "s4")
        self.set("/l", b"before")
        self.lock("s1", "/l", b"1", delay_ms=700)
        self.token("s2", "/m", b"2", shared=True)
        self.token("s3", "/m", b"3", shared=True)
        self.place("s2", "/l")
        self.place("s3", "/l", b"mine")
        self.ephemeral("s2", "/e/f")
        self.once("s2", "w", Lock("/l", wait_ms=60_000))
        self.once("s2", "v", Set("/v", b"1"))
        self.lapse("s4", "s1")

    def test_same(self) -> None:
        """Sessions, locks, queues and spans of time are those they were."""
        sessions, locks = self.store.sessions(), self.store.locks()
        spans, timeouts = list(self.store.spans()), dict(self.store.timeouts_ms)
        self.reload()
        self.assertEqual((self.store.sessions(), self.store.locks()), (sessions, locks))
        self.assertEqual(dict(self.store.timeouts_ms), timeouts)
        self.assertEqual(list(self.store.spans()), spans)
        kinds = [type(span) for span in spans]
        self.assertEqual(kinds, [Patience, Patience, Delay])

    def test_goes_on(self) -> None:
        """What was begun before is ended after, alike."""
        self.reload()
        self.lapse(delays=(("/l", 2),))
        self.assertEqual(self.holders("/l"), ("s2",))
        self.assertEqual(self.outcome("s2", "w"), Granted(self.store.rev))
        self.end("s2")
        self.assertEqual(self.holders("/l"), ("s3",))
        self.assertEqual(self.holders("/m"), ("s3",))
        self.end("s3")
        self.assertEqual(self.walk("/**"), ["/l", "/v"])
        self.assertEqual(self.store.locks(), [])

    def test_numbers_go_on(self) -> None:
        """The next place in a queue has the next number."""
        self.reload()
        self.assertEqual(self.lock("s2", "/n", b""), Granted(self.store.rev))
        self.assertEqual(self.lock("s3", "/n", b"", wait_ms=5), Queued(3))

    def test_while_writing(self) -> None:
        """It is of the moment it was asked for, whatever is answered while it is made."""
        self.open("s5", "s6", "s7")
        for number in range(600):
            for session in ("s5", "s6", "s7"):
                self.once(session, f"{number:0>60}", Set(f"/{session}", b"1"))
        self.store.seal()
        alone = list(self.store.picture().pieces())
        picture, disturbed = self.store.picture(), list[bytes]()
        for number, piece in enumerate(picture.pieces()):
            disturbed.append(piece)
            for session in ("s7", "s5", "s6"):
                for again in range(600):
                    self.once(session, f"{number}.{again}", Set("/new", b""))
            self.unlock("s3", "/m")
            self.lapse("s2" if number < 3 else "s6")
            self.store.seal()
        self.assertEqual(disturbed, alone)
        self.assertGreater(len(alone), 6)

    def test_nobody_looks_any_more(self) -> None:
        """An image that was made, or given up, costs nothing afterwards."""
        self.store.seal()
        for close in (True, False):
            picture = self.store.picture()
            picture.close() if close else list(picture.pieces())
        kept = self.store.picture()
        self.assertEqual(len(self.store._state.sessions._pictures), 1)
        kept.close()

    def test_pieces_are_small(self) -> None:
        """Pieces are 64 KiB at most, but where one value alone is more."""
        names = [f"n{number:0>60}" for number in range(900)]
        self.open(*names)
        for name in names:
            self.token(name, f"/m/{name}", b"x" * 300)
            self.lock(name, "/l", b"y" * 300, wait_ms=5)
            self.once(name, "w", Set(f"/o/{name}", b"1"))
        self.lapse(*names[:300])
        self.store.seal()
        pieces = list(self.store.picture().pieces())
        self.assertLess(max(map(len, pieces)), SIZE_BYTES_MAX)
        again = load(pieces)
        self.assertEqual(again.locks(), self.store.locks())


class OldTests(UsersTestCase):
    """Images made before there were sessions."""

    def test_read(self) -> None:
        """They are read; what they do not tell is nobody's and goes on for ever."""
        old = [
            [0, "coord store", 1, 2, 0, bytes(16), 0],
            [2, [["", 0, 0, None, 0, 0, 0, 0, None]]],
            [3, [["\0a", 1, 1, b"x", 1, 1, 1, 1, None]]],
            [3, [["\0a", 2, 2, None, -1, 1, 0, 0, None], ["\0b", 2, 2, b"y", 2, 1, 2, 2, None]]],
        ]
        checksum = Checksum()
        pieces = [checksum.add(msgspec.msgpack.encode(piece)) for piece in old]
        self.store = load([*pieces, msgspec.msgpack.encode(End(checksum.value()))])
        self.assertTrue(self.store.is_inherited)
        self.store = load([*self.store.picture().pieces()])
        self.assertTrue(self.store.is_inherited)
        self.assertEqual(self.walk("/**"), ["/b"])
        self.assertEqual([event.path for event in self.events()], ["/a", "/a", "/b"])
        facts = self.facts("/b")
        self.assertEqual((facts.owner, facts.ttl_seconds), (None, None))
        self.assertEqual(self.set("/b", b"new"), Written(3))


class ForgedTests(UsersTestCase):
    """An image that contradicts itself is refused though its hash is right."""

    def test_refused(self) -> None:
        """What belongs to a session, a lock or a node that is not in it is not taken."""
        header = Header("coord store", 2, 0, 0, bytes(16), 0)
        base, owned = Base([empty_root()]), Version("\0a", 0, 0, b"", 0, 1, 1, 1, None, "s1")
        session = Opened([Identity("s1", b"hash", 1, "ann", 1)])
        holder, place = (
            Holder("s1", "ann", 1, False, 1, b"", 0),
            Place("s1", "a", 1, False, 1, b"", 1, 0),
        )
        held, holding = Held([("", Before(b"x", None, 0))]), Holding([("", holder)])
        wrong: list[list[Piece]] = [
            [header, Answered([("s1", "w", b"\x92\x01\x01")]), base],
            [header, Base([empty_root(), owned])],
            [header, session, held, base],
            [header, session, Holding([("", holder)]), base],
            [header, held, holding, base],
            [header, session, held, Waiting([("", place)]), base],
            [header, session, Held([("\0x", None)]), Holding([("\0x", holder)]), base],
            [header, session, Waiting([("", place)]), base],
            [header, base, session],
            [header, session, Expired(["s2"]), base],
        ]
        for pieces in wrong:
            self.assertRaises(ValueError, load, forged(*pieces))

    def test_right(self) -> None:
        """The same hand can make a right one."""
        header = Header("coord store", 2, 0, 0, bytes(16), 0, 7)
        holder = Holder("s1", "ann", 1, False, 1, b"", 0)
        store = load(
            forged(
                header,
                Departed((("\0q", 3),)),
                Expired(["s2"]),
                Opened([Identity("s1", b"hash", 1, "ann", 1)]),
                Held([("", None)]),
                Holding([("", holder)]),
                Base([empty_root()]),
                Changes([]),
            )
        )
        self.assertEqual([row.path for row in store.locks()], ["/"])
        self.assertEqual(store.sessions()[0].locks, ("/",))
