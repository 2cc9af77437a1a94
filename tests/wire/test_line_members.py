"""MEMBER: what is asked of whom, and what is wrong with what is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import ChangeMembers, Command, Deed
from coord.errors import BadRequest, CoordError
from coord.wire.line import Grammar
from coord.wire.line_members import words_of

ASKED = (
    ("add n4 10.0.0.4:8076", ChangeMembers(Deed.ADD, "n4", "10.0.0.4:8076")),
    ("add n4 [::1]:8076 observer", ChangeMembers(Deed.ADD, "n4", "[::1]:8076", is_observer=True)),
    ("remove n1", ChangeMembers(Deed.REMOVE, "n1")),
    ("promote n4", ChangeMembers(Deed.PROMOTE, "n4")),
    ("replace n1 n5 h:1", ChangeMembers(Deed.REPLACE, "n1", "h:1", "n5")),
    ("replace n1 n1 h:1", ChangeMembers(Deed.REPLACE, "n1", "h:1", "n1")),
    ("remove remove", ChangeMembers(Deed.REMOVE, "remove")),
    ("plan add plan force:1", ChangeMembers(Deed.ADD, "plan", "force:1", plan=True)),
    ("force remove n1", ChangeMembers(Deed.REMOVE, "n1", force=True)),
    ("PLAN Force ADD n4 h:1 OBSERVER",
     ChangeMembers(Deed.ADD, "n4", "h:1", is_observer=True, force=True, plan=True)),
)  # fmt: skip
WRONG = (
    "", "plan", "n4", "ad n4 h:1", "plans remove n1", "plan plan remove n1", "plan=1 remove n1",
    "add", "add n4", "add h:1 n4", "add n4 h:1 voter", "add n4 h:1 observer observer",
    "add n4 h:1 force", "add n4 h", "add n4 h:0", "add n4 h:65536", "add N4 h:1", "add 4 h:1",
    "remove", "remove n1 n2", "remove -", "remove " + "x" * 64, "remove n\u00e4",
    "remove n1 observer", "promote", "promote n4 h:1", "replace n1", "replace n1 n5",
    "replace n1 h:1", "replace n1 n5 h:1 observer", "remove /n1", "remove n1 {0}",
)  # fmt: skip


def understood(words: str) -> Command | CoordError:
    """Return what a server makes of ``MEMBER`` and some words."""
    grammar = Grammar()
    parts = grammar.take_apart(f"MEMBER {words}".encode())
    assert parts is not None
    return grammar.understand(parts)


class Changes(SynchronousTestCase):
    """A change of who the members are, as words."""

    def test_asked(self) -> None:
        """Each change is asked for in words of its own, in any case; options come first."""
        for words, change in ASKED:
            self.assertEqual(understood(words), change)

    def test_written(self) -> None:
        """What a client writes is what a server understands."""
        for _, change in ASKED:
            options = " ".join(["plan"] * change.plan + ["force"] * change.force)
            self.assertEqual(understood(f"{options} {' '.join(words_of(change))}"), change)

    def test_wrong(self) -> None:
        """What misses a word, has one too many, or a name that is none is BAD_REQUEST."""
        for words in WRONG:
            self.assertIsInstance(understood(words), BadRequest, words)

    def test_told(self) -> None:
        """What is wrong is told: the forms of the change, or the word that is none."""
        for words, told in (
            ("add n4", "member add wants NAME HOST:PORT [observer]"),
            ("replace n1 n5", "member replace wants OLD NEW HOST:PORT"),
            ("remove N1", "'N1' is no name for a node"),
            ("add n4 h", "'h' is not HOST:PORT"),
            ("grow", "wants one of add, remove, promote, replace"),
            ("fast remove n1", "has no option 'fast'"),
        ):
            problem = understood(words)
            assert isinstance(problem, BadRequest)
            self.assertIn(told, problem.text)

    def test_unwritable(self) -> None:
        """A client does not write what no server would understand."""
        for change in (
            ChangeMembers(Deed.ADD, "n4"),
            ChangeMembers(Deed.REMOVE, "n 4"),
            ChangeMembers(Deed.REMOVE, "n1", "h:1"),
            ChangeMembers(Deed.PROMOTE, "n1", is_observer=True),
            ChangeMembers(Deed.REPLACE, "n1", "h:1"),
        ):
            self.assertRaises(BadRequest, words_of, change)
