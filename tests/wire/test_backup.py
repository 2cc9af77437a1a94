"""The files of ``coord-backup``: what is written is read, and what was damaged is found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.events import Event, Kind
from coord.paths import order_key
from coord.results import Row
from coord.wire.backup import Content, End, Header, LeftOut, Mark, Record, Writer, checksum
from coord.wire.backup_reader import Damage, Foreign, Reader
from coord.wire.backup_text import escape, seconds, span_ms, text_of, unescape, word

NAME_OF_DUMP_2 = "cf31b783446768ea1e71244ef7ede238"
HASH_OF_DUMP_2 = "47b0c889537428bc6a20f2692e099d58"
LATER = b"coord-backup 3 dump what=ever"
GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TIME = "2026-11-20T06:01:22.000Z"
names = st.text("ab7. %é\n\u2028", min_size=1, max_size=5).filter(
    lambda one: one not in (".", "..")
)
some_paths = st.lists(names, max_size=4).map(lambda parts: "/" + "/".join(parts))
some_values = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=30).map(str.encode),
    st.sampled_from([b"", b" ", b"\\=AAAA", b"{5}", b"\x00" * 50, b"a\nb", b"\\n", b"x" * 3000]),
)
lifetimes = st.just(0) | st.integers(1, 10**12)
rows = st.dictionaries(
    some_paths, st.tuples(st.integers(1, 999), some_values, lifetimes), max_size=8
).map(lambda nodes: [Row(path, *nodes[path]) for path in sorted(nodes, key=order_key)])


@st.composite
def some_changes(draw: st.DrawFn) -> list[Event | Mark]:
    """Draw changes after revision 1000, with marks among them."""
    found: list[Event | Mark] = []
    rev = 1000
    for step, path, value in draw(
        st.lists(st.tuples(st.integers(0, 3), some_paths, st.none() | some_values), max_size=8)
    ):
        rev += max(step, 1 if rev == 1000 else 0)
        if value is None:
            found.append(Event(rev, Kind.DEL, path))
        else:
            found.append(Event(rev, Kind.SET, path, value, draw(lifetimes)))
        if step == 3:
            found.append(Mark(rev, f"2026-11-20T06:01:22.{len(found):03}Z"))
    return found


def dump(nodes: Iterable[Row]) -> list[bytes]:
    """Return the lines of a dump of revision 1000."""
    writer = Writer(Header(content=Content.DUMP, rev=1000, cluster="a cluster", time=TIME))
    return [writer.head(), *map(writer.node, nodes), writer.end()]


def changes(records: Iterable[Event | Mark]) -> list[bytes]:
    """Return the lines of changes after revision 1000."""
    header = Header(
        content=Content.CHANGES, rev=1000, cluster="c", time=TIME, after="0123456789abcdef"
    )
    writer = Writer(header)
    lines = [writer.head()]
    lines += [writer.mark(one) if isinstance(one, Mark) else writer.change(one) for one in records]
    return [*lines, writer.end()]


files = st.one_of(rows.map(dump), some_changes().map(changes))


def read(*pieces: bytes) -> list[Record]:
    """Return what a file says."""
    return list(Reader().records(pieces))


class Values(SynchronousTestCase):
    """A value on one line."""

    @given(some_values)
    def test_round_trip(self, value: bytes) -> None:
        """Any bytes come back, from one line that a terminal bears."""
        written = escape(value)
        self.assertEqual(unescape(written), value)
        self.assertNotRegex(written.decode(), r"[\x00-\x1f\x7f-\x9f\u2028]")

    def test_readable(self) -> None:
        """Text stays text."""
        self.assertEqual(escape("grüß dich = \\o/".encode()), "grüß dich = \\\\o/".encode())
        self.assertEqual(escape(b"two\nlines\x07"), rb"two\nlines\x07")
        self.assertEqual(escape(bytes(3)), rb"\x00\x00\x00")
        self.assertEqual(escape(bytes(15)), rb"\=AAAAAAAAAAAAAAAAAAAA")
        self.assertEqual(escape(b"\xff"), rb"\=/w==")

    def test_wrong(self) -> None:
        """What no writer writes is refused."""
        for written in (rb"\q", rb"\x1", rb"\=A", rb"\=A A=", b"\\", rb"a\=AAAA"):
            self.assertRaises(ValueError, unescape, written)

    @given(st.text(st.characters(codec="utf-8")))
    def test_words(self, text: str) -> None:
        """A word of a header is any text without a space."""
        self.assertEqual(text_of(word(text)), text)
        self.assertNotIn(b" ", word(text))
        self.assertRaises(ValueError, text_of, b"50%")

    @given(st.integers(1, 10**13))
    def test_lifetimes(self, span: int) -> None:
        """A lifetime is seconds, with no digit more than it needs; none at all is no lifetime."""
        self.assertEqual(span_ms(seconds(span)), span)
        self.assertEqual([seconds(one) for one in (30_000, 1_500, 7)], [b"30", b"1.5", b"0.007"])
        for written in (b"0", b"0.000", b"", b"-1", b"1.", b"1e3", b"01", b"1.2345"):
            self.assertRaises(ValueError, span_ms, written)


class RoundTrips(SynchronousTestCase):
    """What was written is read."""

    @given(rows, st.integers(1, 50))
    def test_dump(self, nodes: list[Row], size: int) -> None:
        """A dump is read as it was written, in whatever pieces it comes."""
        lines = dump(nodes)
        whole = b"".join(lines)
        found = read(*(whole[at : at + size] for at in range(0, len(whole), size)))
        self.assertEqual(found[1:-1], nodes)
        self.assertEqual(found[0], Header(
            content=Content.DUMP, rev=1000, cluster="a cluster", time=TIME))  # fmt: skip
        assert isinstance(found[-1], End)
        self.assertEqual(found[-1].lines, len(nodes))
        self.assertEqual(len(lines), len(nodes) + 2)

    @given(some_changes())
    def test_changes(self, records: list[Event | Mark]) -> None:
        """So are changes, also those that are still being written."""
        lines = changes(records)
        self.assertEqual(read(b"".join(lines))[1:-1], records)
        for torn in (b"", lines[-1][:-1]):
            reader = Reader(unfinished=True)
            sound = b"".join(lines[:-1])
            self.assertEqual(list(reader.records([sound + torn]))[1:], records)
            self.assertEqual(reader.sound_bytes, len(sound))

    @given(some_changes(), st.data())
    def test_resume(self, records: list[Event | Mark], draw: st.DataObject) -> None:
        """A writer goes on where another was ended, as if it had been the same."""
        lines = changes(records)
        cut = draw.draw(st.integers(1, len(lines) - 1))
        header = read(b"".join(lines))[0]
        assert isinstance(header, Header)
        writer = Writer(header)
        for line in lines[:cut]:
            writer.resume(line)
        more = [
            writer.mark(one) if isinstance(one, Mark) else writer.change(one)
            for one in records[cut - 1 :]
        ]
        self.assertEqual([*more, writer.end()], lines[cut:])

    def test_diff(self) -> None:
        """Two dumps differ in the lines of what differs, and their neighbours at most."""
        nodes = [Row(f"/n{number}", 5, b"value") for number in range(9)]
        other = list(nodes)
        other[4] = Row("/n4", 6, b"another")
        one, two = dump(nodes), dump(other)
        self.assertEqual([index for index in range(11) if one[index] != two[index]], [5, 10])


class Damaged(SynchronousTestCase):
    """Whatever happens to a file is found, at the first line that is wrong."""

    def find(self, damaged: bytes) -> int:
        """Return the line that is named; fail where none is."""
        try:
            read(damaged)
        except Damage as damage:
            return damage.line
        except Foreign:
            return 1
        raise AssertionError(f"not found in {damaged!r}")

    @given(files, st.data())
    @settings(max_examples=300)
    def test_flipped_bit(self, lines: list[bytes], draw: st.DataObject) -> None:
        """Any flipped bit is found in the line where it is."""
        whole = bytearray(b"".join(lines))
        place = draw.draw(st.integers(0, len(whole) - 1))
        line = whole[:place].count(b"\n") + 1
        whole[place] ^= 1 << draw.draw(st.integers(0, 7))
        self.assertEqual(self.find(bytes(whole)), line)

    def test_every_bit(self) -> None:
        """Every single bit of the golden files matters."""
        for path in sorted(GOLDEN.glob("*.*")):
            whole = path.read_bytes()
            for place in range(len(whole)):
                line = whole[:place].count(b"\n") + 1
                for bit in range(8):
                    wrong = bytearray(whole)
                    wrong[place] ^= 1 << bit
                    self.assertEqual(self.find(bytes(wrong)), line)

    @given(files, st.data())
    def test_lost_line(self, lines: list[bytes], draw: st.DataObject) -> None:
        """A lost line is found where it was."""
        lost = draw.draw(st.integers(0, len(lines) - 1))
        self.assertEqual(self.find(b"".join(lines[:lost] + lines[lost + 1 :])), lost + 1)

    @given(files, st.data())
    def test_doubled_line(self, lines: list[bytes], draw: st.DataObject) -> None:
        """A doubled line is found at its second place."""
        one = draw.draw(st.integers(0, len(lines) - 1))
        self.assertEqual(self.find(b"".join(lines[: one + 1] + lines[one:])), one + 2)

    @given(files, st.data())
    def test_reordered_lines(self, lines: list[bytes], draw: st.DataObject) -> None:
        """Two lines that changed places are found at the first of them."""
        one, two = sorted(
            draw.draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
        )
        lines = list(lines)
        lines[one], lines[two] = lines[two], lines[one]
        self.assertEqual(self.find(b"".join(lines)), one + 1)

    @given(files, st.data())
    def test_cut(self, lines: list[bytes], draw: st.DataObject) -> None:
        """A cut anywhere is found: there is always a last line."""
        whole = b"".join(lines)
        place = draw.draw(st.integers(0, len(whole) - 1))
        self.assertEqual(self.find(whole[:place]), whole[:place].count(b"\n") + 1)

    @given(files)
    def test_more(self, lines: list[bytes]) -> None:
        """What follows the last line is found."""
        self.assertEqual(self.find(b"".join(lines) + b"\n"), len(lines) + 1)
        self.assertEqual(self.find(b"".join(lines) + b"x"), len(lines) + 1)

    @given(st.binary(max_size=200))
    def test_junk(self, junk: bytes) -> None:
        """Junk is refused as such."""
        self.assertEqual(self.find(junk), 1)

    def test_unfinished(self) -> None:
        """In changes still being written, damage before the end is damage all the same."""
        lines = changes([Event(1001, Kind.SET, "/a", b"1"), Event(1002, Kind.DEL, "/a")])
        reader = Reader(unfinished=True)
        with self.assertRaises(Damage) as caught:
            list(reader.records([lines[0], lines[1].replace(b"/a", b"/b"), lines[2]]))
        self.assertEqual(caught.exception.line, 2)
        self.assertEqual(reader.sound_bytes, len(lines[0]))

    def test_endless_line(self) -> None:
        """A line without end is given up before it fills the memory."""
        taken = 0

        def pieces() -> Iterable[bytes]:
            nonlocal taken
            yield b"coord-backup 1 dump"
            for _ in range(100):
                taken += 1
                yield bytes(1_000_000)

        with self.assertRaises(Damage):
            list(Reader().records(pieces()))
        self.assertLess(taken, 20)

    def test_later_version(self) -> None:
        """A file of a later version is refused as such, not as damaged."""
        with self.assertRaises(Foreign) as caught:
            read(b"coord-backup 3 dump what=ever crc=%b\n" % checksum(b"", LATER))
        self.assertIn("version 3", str(caught.exception))


class Golden(SynchronousTestCase):
    """Files of the past, readable for ever. These files are never changed."""

    def test_dump(self) -> None:
        """A dump of version 1."""
        whole = (GOLDEN / "dump.1").read_bytes()
        nodes = [
            Row("/", 9, b"root"),
            Row("/ctl/cluster", 1, b"coord"),
            Row("/empty", 7, b""),
            Row("/jobs/a job", 8, b"two\nlines, a \\ and a tab\t."),
            Row("/message", 5, b"hello, world"),
            Row("/message/caf\u00e9", 6, "d\u00e9j\u00e0 vu".encode()),
            Row("/x", 10, bytes(range(256))),
        ]
        header = Header(content=Content.DUMP, rev=10, cluster="coord", time=TIME)
        hashed = "3c5f5e6bc6cb678be3d616aafea77fbd"
        self.assertEqual(read(whole), [header, *nodes, End(7, hashed)])

    def test_dump_2(self) -> None:
        """A dump of version 2: lifetimes, and what was left out."""
        whole = (GOLDEN / "dump.2").read_bytes()
        nodes = [
            Row("/ctl/cluster", 1, b"coord"),
            Row("/jobs/a job", 8, b"two\nlines", 90_000),
            Row("/message", 5, b"hello, world"),
            Row("/seen", 6, b"", 1_500),
            Row("/x", 10, bytes(range(256)), 7),
        ]
        left_out = LeftOut(3, 2, 5)
        header = Header(content=Content.DUMP, rev=10, cluster="coord", time=TIME)
        self.assertEqual(read(whole), [header, *nodes, End(5, HASH_OF_DUMP_2, left_out)])
        writer = Writer(header)
        again = [writer.head(), *map(writer.node, nodes), writer.end(left_out)]
        self.assertEqual(b"".join(again), whole)
        self.assertEqual(writer.name, NAME_OF_DUMP_2)

    def test_changes(self) -> None:
        """Changes of version 1, which go on from that dump."""
        whole = (GOLDEN / "changes.1").read_bytes()
        header = Header(
            content=Content.CHANGES,
            rev=10,
            cluster="coord",
            time=TIME,
            after="dde811aedb589de42132e69d5821ec52",
        )
        records: list[Event | Mark] = [
            Event(11, Kind.SET, "/message", b"good morning"),
            Event(12, Kind.DEL, "/message"),
            Event(12, Kind.DEL, "/message/caf\u00e9"),
            Mark(12, "2026-11-20T06:01:24.115Z"),
            Event(13, Kind.SET, "/y", b""),
        ]
        self.assertEqual(
            read(whole), [header, *records, End(5, "8d08d15e5b060a0d74d5b5ff2bd5918d")]
        )
        self.assertTrue(re.fullmatch(rb"(?:[^\n]+\n)+", whole))

    def test_changes_2(self) -> None:
        """Changes of version 2, which go on from the dump of version 2."""
        whole = (GOLDEN / "changes.2").read_bytes()
        header = Header(
            content=Content.CHANGES, rev=10, cluster="coord", time=TIME, after=NAME_OF_DUMP_2
        )
        records: list[Event | Mark] = [
            Event(11, Kind.SET, "/message", b"good morning"),
            Event(12, Kind.SET, "/seen", b"still here", 1_500),
            Event(13, Kind.DEL, "/seen"),
            Mark(13, "2026-11-20T06:01:24.115Z"),
        ]
        writer = Writer(header)
        lines = [writer.head()]
        lines += [
            writer.mark(one) if isinstance(one, Mark) else writer.change(one) for one in records
        ]
        self.assertEqual(b"".join([*lines, writer.end()]), whole)
        self.assertEqual(read(whole)[:-1], [header, *records])


class Page(SynchronousTestCase):
    """The page that tells others of the format."""

    def test_examples(self) -> None:
        """Its examples are files that are read, and the second goes on from the first."""
        page = (GOLDEN.parent.parent / "doc" / "backup-format.rst").read_text(encoding="utf-8")
        blocks = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
        dumped, changed = (re.sub("^    ", "", one, flags=re.MULTILINE) for one in blocks[:2])
        first, second = Reader(), Reader()
        self.assertEqual(len(list(first.records([dumped.encode()]))), 6)
        self.assertEqual(len(list(second.records([changed.encode()]))), 7)
        self.assertEqual(second.header.after, first.name)
