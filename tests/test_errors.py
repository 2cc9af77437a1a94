"""The catalogue of errors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord import errors
from coord.errors import CATALOGUE, CoordError, NoEntry

CODES = """
    BAD_REQUEST UNKNOWN_VERB BAD_PATH BAD_GLOB TOO_LARGE TAG_IN_USE NOENT EXISTS ISDIR NOTEMPTY
    REV_MISMATCH TOO_LATE LOCKED NOT_HELD TIMEOUT ABORTED NO_SESSION SESSION_EXPIRED
    DENIED READONLY LAGGED UNAVAILABLE UNKNOWN OVERLOADED
"""


class CatalogueTests(SynchronousTestCase):
    """One class for each code."""

    def test_codes(self) -> None:
        """The codes are those of the protocol, all of them and no other."""
        self.assertEqual(sorted(CATALOGUE), sorted(CODES.split()))

    def test_unique(self) -> None:
        """No code belongs to two errors."""
        kinds = [
            kind
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, CoordError) and kind is not CoordError
        ]
        self.assertEqual(len(kinds), len({kind.code for kind in kinds}))
        self.assertEqual(len(kinds), len(CATALOGUE))

    def test_help(self) -> None:
        """Each error explains itself in a sentence."""
        for kind in CATALOGUE.values():
            self.assertTrue((kind.__doc__ or "").rstrip().endswith("."), kind)

    def test_values(self) -> None:
        """Errors are values: equal when code and text are."""
        self.assertEqual(NoEntry("x"), NoEntry("x"))
        self.assertEqual(len({NoEntry("x"), NoEntry("x"), NoEntry("y")}), 2)
        self.assertNotEqual(NoEntry("x"), errors.Exists("x"))

    def test_text(self) -> None:
        """The text is for a person, and may be missing."""
        self.assertEqual(NoEntry("no such thing").text, "no such thing")
        self.assertEqual(NoEntry().text, "")
