"""Tests of `coord.wire.framing`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from coord.wire.framing import LENGTH_BYTES, Splitter, pack_length

LIMIT = 64

frames = some.lists(some.binary(max_size=LIMIT), max_size=12)
cuts = some.lists(some.integers(min_value=1, max_value=2 * LIMIT), min_size=1, max_size=20)


def stream(contents: list[bytes]) -> bytes:
    """Return frames as they travel."""
    return b"".join(pack_length(len(one)) + one for one in contents)


def chunks(whole: bytes, sizes: list[int]) -> list[bytes]:
    """Cut ``whole`` into chunks of these sizes, again and again."""
    found = []
    start = turn = 0
    while start < len(whole):
        end = start + sizes[turn % len(sizes)]
        found.append(whole[start:end])
        start, turn = end, turn + 1
    return found


class SplitterTests(SynchronousTestCase):
    """Frames come out as they went in, however the stream is cut."""

    @settings(derandomize=True, deadline=None)
    @given(frames, cuts)
    def test_any_cut(self, contents: list[bytes], sizes: list[int]) -> None:
        """Cut at random, a stream gives the frames that were put in, in order."""
        splitter = Splitter(LIMIT)
        got = [one for chunk in chunks(stream(contents), sizes) for one in splitter.feed(chunk)]
        self.assertEqual(got, contents)

    def test_whole(self) -> None:
        """Fed at once, a stream gives all its frames at once, empty ones included."""
        contents = [b"one", b"", b"three" * 5]
        self.assertEqual(Splitter(LIMIT).feed(stream(contents)), contents)

    def test_byte_by_byte(self) -> None:
        """A frame is handed on with its last byte and not before."""
        splitter = Splitter(LIMIT)
        got = [splitter.feed(bytes((byte,))) for byte in stream([b"abc", b""])]
        self.assertEqual(got, [[]] * 6 + [[b"abc"]] + [[]] * 3 + [[b""]])

    def test_frames_are_bytes(self) -> None:
        """Frames are immutable and hashable, whether they arrived in one piece or in many."""
        whole = stream([b"abc"])
        splitter = Splitter(LIMIT)
        got = splitter.feed(whole) + splitter.feed(whole[:5]) + splitter.feed(whole[5:])
        self.assertEqual([type(one) for one in got], [bytes, bytes])

    def test_longest_allowed(self) -> None:
        """A frame of exactly the limit is taken."""
        self.assertEqual(Splitter(LIMIT).feed(stream([b"x" * LIMIT])), [b"x" * LIMIT])

    def test_too_long_is_refused_at_its_length(self) -> None:
        """A frame above the limit is refused with its fourth byte, before any of it is kept."""
        splitter = Splitter(LIMIT)
        announced = pack_length(LIMIT + 1)
        self.assertEqual(splitter.feed(announced[:3]), [])
        error = self.assertRaises(ValueError, splitter.feed, announced[3:])
        self.assertEqual(str(error), "a frame of 65 bytes; at most 64 are taken")

    def test_too_long_after_good_ones(self) -> None:
        """A frame above the limit is refused behind good frames in one chunk, too."""
        splitter = Splitter(LIMIT)
        with self.assertRaises(ValueError):
            splitter.feed(stream([b"good"]) + pack_length(1 << 31))

    def test_limit_can_be_raised(self) -> None:
        """Once its peer is trusted, a link may take longer frames."""
        splitter = Splitter(LIMIT)
        splitter.frame_bytes_max = 1000
        self.assertEqual(splitter.feed(stream([b"x" * 1000])), [b"x" * 1000])

    @settings(derandomize=True, deadline=None)
    @given(some.binary(max_size=200), cuts)
    def test_junk(self, junk: bytes, sizes: list[int]) -> None:
        """Whatever arrives, a splitter gives frames within the limit or raises ValueError."""
        splitter = Splitter(LIMIT)
        taken = 0
        try:
            for chunk in chunks(junk, sizes):
                for frame in splitter.feed(chunk):
                    self.assertLessEqual(len(frame), LIMIT)
                    taken += LENGTH_BYTES + len(frame)
        except ValueError as error:
            self.assertIn("at most 64 are taken", str(error))
        self.assertLessEqual(taken, len(junk))
