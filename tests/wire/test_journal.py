"""What a journal's records hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Value
from coord.paxos.membership import Configuration, Governs
from coord.wire.journal import (
    decode_header,
    decode_value,
    encode_header,
    encode_value,
    image_checksum,
    piece_checksum,
    record_checksum,
)

NAMES = st.text(max_size=8)
NUMBERS = st.integers(0, 2**63 - 1)
BALLOTS = st.builds(Ballot, NUMBERS, NAMES)
CONFIGURATIONS = st.builds(
    Configuration, st.lists(NAMES, max_size=5).map(tuple), st.lists(NAMES, max_size=2).map(tuple)
)
VALUES = st.one_of(st.binary(max_size=300), CONFIGURATIONS)
HEADERS = st.builds(
    Header,
    BALLOTS,
    NUMBERS,
    st.lists(st.builds(Governs, NUMBERS, CONFIGURATIONS), max_size=3).map(tuple),
)
quietly = settings(derandomize=True, deadline=None)


class RecordTests(SynchronousTestCase):
    """Records are read as they were written, and junk is refused."""

    @quietly
    @given(VALUES)
    def test_values(self, value: Value) -> None:
        """A slot's value, bytes or configuration, comes back the same."""
        self.assertEqual(decode_value(encode_value(value)), value)

    @quietly
    @given(HEADERS)
    def test_headers(self, header: Header) -> None:
        """The acceptor's header comes back the same."""
        self.assertEqual(decode_header(encode_header(header)), header)

    @quietly
    @given(st.binary(max_size=64))
    def test_junk(self, junk: bytes) -> None:
        """Junk is decoded to a proper value or raises `ValueError`, nothing else."""
        for decode, kind in ((decode_value, (bytes, Configuration)), (decode_header, Header)):
            try:
                found = decode(junk)
            except ValueError:
                continue
            self.assertIsInstance(found, kind)

    @quietly
    @given(NUMBERS, BALLOTS, st.binary(min_size=1, max_size=64), st.data())
    def test_flipped_bit(
        self, slot: int, ballot: Ballot, content: bytes, data: st.DataObject
    ) -> None:
        """A record with one flipped bit has another checksum."""
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        self.assertNotEqual(
            record_checksum(slot, ballot, content), record_checksum(slot, ballot, bytes(flipped))
        )
        self.assertNotEqual(piece_checksum(slot, content), piece_checksum(slot, bytes(flipped)))

    def test_another_place(self) -> None:
        """A record in another's place, or of another ballot, has another checksum."""
        ballot = Ballot(3, "n1")
        checksums = {
            record_checksum(5, ballot, b"x"),
            record_checksum(6, ballot, b"x"),
            record_checksum(5, Ballot(4, "n1"), b"x"),
            record_checksum(5, Ballot(3, "n2"), b"x"),
            piece_checksum(5, b"x"),
            piece_checksum(6, b"x"),
            image_checksum(1, 2, 3),
            image_checksum(1, 2, 4),
        }
        self.assertEqual(len(checksums), 8)
