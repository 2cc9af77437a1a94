"""Images: a whole store as bytes and back."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coord.commands import Get, Set, Walk
from coord.results import Row, Rows, Value, Written
from coord.store.image import Loading
from coord.store.machine import Store
from coord.store.picture import Base, Changes, Checksum, Departed, End, Header
from coord.store.tree import GONE, Version, empty_root
from tests.store.case import StoreTestCase
from tests.store.strategies import CALM, a_write, dice


def an_image(random: Random, history: int = 30) -> list[bytes]:
    """Return the pieces of a store with some life behind it."""
    store = Store(history)
    for number in range(60):
        store.apply(a_write(random), number)
        store.seal()
    return list(store.picture().pieces())


def load(pieces: list[bytes], history: int = 30) -> Store:
    """Return the store that pieces make."""
    loading = Loading(history)
    for piece in pieces:
        loading.feed(piece)
    return loading.finish()


def forged(*pieces: Header | Departed | Base | Changes) -> list[bytes]:
    """Return an image whose hash is right, whatever it holds."""
    checksum = Checksum()
    encoded = [checksum.add(msgspec.msgpack.encode(piece)) for piece in pieces]
    return [*encoded, msgspec.msgpack.encode(End(checksum.value()))]


def header(rev: int = 1, base: int = 0, version: int = 1, magic: str = "coord store") -> Header:
    """Return a header."""
    return Header(magic, version, rev, base, bytes(16), 0)


def a_node(key: str, since: int) -> Version:
    """Return a node's first version."""
    return Version(key, since, since, b"x", since, 1, 1, 1, None)


class RoundTripTests(StoreTestCase):
    """What comes back is the same store."""

    def test_empty(self) -> None:
        """An empty store comes back empty."""
        again = self.reloaded()
        self.assertEqual((again.rev, again.horizon, again.digest), (0, 0, self.store.digest))
        self.assertEqual(again.apply(Set("/a", b"v"), 1), Written(1))

    @CALM
    @given(dice, st.sampled_from([1, 3, 1000]))
    def test_goes_on_alike(self, random: Random, history: int) -> None:
        """A store and its image, given the same writes, stay the same to the byte."""
        one = Store(history)
        for number in range(30):
            one.apply(a_write(random), number)
        one.seal()
        other = load(list(one.picture().pieces()), history)
        for number in range(30):
            write = a_write(random)
            self.assertEqual(one.apply(write, number), other.apply(write, number))
            if number % 4 == 0:
                one.seal()
                other.seal()
        one.seal()
        other.seal()
        self.assertEqual(one.digest, other.digest)
        self.assertEqual(list(one.picture().pieces()), list(other.picture().pieces()))

    def test_equal_stores(self) -> None:
        """Equal stores make equal images, whatever was read or held meanwhile."""
        other = Store(5)
        self.store = Store(5)
        self.set("/a", b"1")
        other.apply(Set("/a", b"1"), self.time_ms)
        self.store.seal()
        other.seal()
        rows = self.store.answer(Walk("/**"))
        for number in range(30):
            self.set(f"/{number}")
            other.apply(Set(f"/{number}", b"v"), self.time_ms)
            self.store.seal()
            other.seal()
        self.assertEqual(list(self.store.picture().pieces()), list(other.picture().pieces()))
        assert isinstance(rows, Rows)
        rows.close()

    def test_past(self) -> None:
        """The past that could be read and watched can be still."""
        self.set("/a", b"1")
        self.set("/a", b"2")
        self.delete("/a")
        self.store.seal()
        events = self.events()
        self.store = self.reloaded()
        self.assertEqual(self.get("/a", 1), Value(1, b"1"))
        self.assertEqual(self.get("/a", 2), Value(2, b"2"))
        self.assertEqual(self.events(), events)

    def test_shorter_history(self) -> None:
        """Of a longer history the oldest part is dropped, of a shorter one nothing is invented."""
        for number in range(10):
            self.set("/a", b"%d" % number)
        self.store.seal()
        short = self.reloaded(3)
        self.assertEqual(short.horizon, 8)
        self.store = short
        self.assertEqual(self.get("/a", 8), Value(8, b"7"))
        again = self.reloaded(1000)
        self.assertEqual(again.horizon, 8)
        self.assertEqual(again.answer(Get("/a", rev=8)), Value(8, b"7"))

    def test_sequences(self) -> None:
        """Numbers of parents that are gone are remembered."""
        self.add("/q/", b"", True)
        self.delete("/q", tree=True)
        self.store.seal()
        self.store = self.reloaded(1)
        self.assertEqual(self.add("/q/", b"", True), Written(3, "/q/0000000002"))

    def test_while_writing(self) -> None:
        """An image is of the moment it was asked for, whatever is written while it is made."""
        for number in range(300):
            self.set(f"/d/{number:03d}", bytes(1000))
        self.store.seal()
        alone = list(self.store.picture().pieces())
        disturbed = []
        for number, piece in enumerate(self.store.picture().pieces()):
            disturbed.append(piece)
            for other in range(number % 7, 300, 7):
                self.delete(f"/d/{other:03d}")
                self.set(f"/d/{other:03d}/x", b"new")
            self.store.seal()
        self.assertEqual([piece for piece in disturbed if piece], alone)
        self.assertGreater(len(alone), 4)

    def test_newer_nodes_in_between(self) -> None:
        """Where much is newer than the image, empty pieces let others have their turn."""
        self.store = Store(1)
        for path in ("/a", "/z"):
            self.set(path)
        self.store.seal()
        alone = list(self.store.picture().pieces())
        picture = self.store.picture()
        for number in range(5000):
            self.set(f"/m/{number}")
        self.store.seal()
        pieces = list(picture.pieces())
        self.assertIn(b"", pieces)
        self.assertEqual([piece for piece in pieces if piece], alone)
        self.assertEqual(load(pieces).rev, 2)

    def test_pieces_are_small(self) -> None:
        """Pieces are 64 KiB at most, but where one value alone is more."""
        for number in range(200):
            self.set(f"/{number}", bytes(number * 30))
            self.set(f"/é{'é' * 100}{number}", b"")
        self.set("/large", bytes(200_000))
        for number in range(3000):
            self.delete(f"/{number}")
        self.store.seal()
        large = [piece for piece in self.store.picture().pieces() if len(piece) > 64 * 1024]
        self.assertEqual([len(piece) // 100_000 for piece in large], [2])


class DamageTests(StoreTestCase):
    """What is not a whole image is refused."""

    @CALM
    @given(dice, dice)
    def test_flipped_bit(self, random: Random, where: Random) -> None:
        """One bit flipped anywhere is found."""
        pieces = an_image(random)
        which = where.randrange(len(pieces))
        damaged = bytearray(pieces[which])
        damaged[where.randrange(len(damaged))] ^= 1 << where.randrange(8)
        pieces[which] = bytes(damaged)
        self.assertRaises(ValueError, load, pieces)

    @CALM
    @given(dice, dice)
    def test_missing_piece(self, random: Random, where: Random) -> None:
        """A piece that is missing, wherever it was, is found."""
        pieces = an_image(random)
        del pieces[where.randrange(len(pieces))]
        self.assertRaises(ValueError, load, pieces)

    @CALM
    @given(dice, dice)
    def test_order(self, random: Random, where: Random) -> None:
        """Pieces that changed places, or came twice, are found."""
        pieces = an_image(random)
        one, other = where.sample(range(len(pieces)), 2)
        swapped = list(pieces)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        self.assertRaises(ValueError, load, swapped)
        pieces.insert(one, pieces[one])
        self.assertRaises(ValueError, load, pieces)

    @CALM
    @given(st.binary(max_size=30))
    def test_junk(self, junk: bytes) -> None:
        """Junk is not an image."""
        self.assertRaises(ValueError, load, [junk])

    def test_not_ours(self) -> None:
        """Another program's image, or one of a version to come, is refused by name."""
        with self.assertRaises(ValueError) as raised:
            load(forged(header(magic="else")))
        self.assertIn("not the image", str(raised.exception))
        with self.assertRaises(ValueError) as raised:
            load(forged(header(version=3)))
        self.assertIn("version 3", str(raised.exception))

    def test_forged(self) -> None:
        """An image that contradicts itself is refused though its hash is right."""
        root, gone = empty_root(), Version("\0a", 1, 1, None, GONE, 1, 0, 0, None)
        wrong: list[list[Header | Base | Changes]] = [
            [header(rev=0)],
            [header(rev=0), Base([a_node("\0a", 0)])],
            [header(rev=0), Base([root, a_node("\0b", 0), a_node("\0a", 0)])],
            [header(rev=2), Base([root]), Changes([a_node("\0a", 1)])],
            [header(rev=2), Base([root]), Changes([a_node("\0a", 2)])],
            [header(rev=1), Base([root]), Changes([gone])],
            [header(rev=1), Base([root]), Changes([a_node("\0b", 1), a_node("\0a", 1)])],
            [header(rev=1), Changes([a_node("\0a", 1)])],
        ]
        for pieces in wrong:
            self.assertRaises(ValueError, load, forged(*pieces))

    def test_whole(self) -> None:
        """The same hand can make a right one."""
        store = load(forged(header(), Base([empty_root()]), Changes([a_node("\0a", 1)])))
        rows = store.answer(Walk("/**"))
        assert isinstance(rows, Rows)
        self.assertEqual([row for row in rows.rows if row], [Row("/a", 1, b"x")])
