"""``coord member``: members changed and planned from a shell."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Roster
from coord.errors import CoordError, Exists, NoEntry
from coord.testing import MemoryClient
from coord.tools.cli import main
from coord.tools.cli_member import change_members, change_of
from coord.tools.cli_output import Output
from coord.tools.cli_words import parser
from coord.tools.running import Usage


class MemberCase(SynchronousTestCase):
    """A store in memory, whose only node is called memory."""

    def setUp(self) -> None:
        """Make the store."""
        self.client = MemoryClient()
        self.notes: list[str] = []

    def begin(self, *words: str) -> tuple[Deferred[int], io.BytesIO]:
        """Begin a command; return its outcome to be, and what it prints."""
        out = io.BytesIO()
        given = parser().parse_args(["member", *words])
        output = Output(out, as_json=given.json, is_terminal=False)
        doing = change_members(self.client, given, output, self.notes.append)
        return ensureDeferred(doing), out

    def told(self, *words: str) -> str:
        """Return what a command prints."""
        done, out = self.begin(*words)
        self.assertEqual(self.successResultOf(done), 0)
        return out.getvalue().decode()


class Changes(MemberCase):
    """Changes that are made at once."""

    def parts(self) -> dict[str, str]:
        """Return each member's part."""
        members = self.successResultOf(self.client.members())
        return {one.name: one.part for one in members}

    def test_done(self) -> None:
        """Each change prints the revision, as every write does."""
        self.assertRegex(self.told("add", "n4", "h:1"), r"\A[0-9]+\n\Z")
        self.told("add", "n5", "h:2", "--observer")
        self.told("add", "n6", "h:3", "observer")
        self.assertEqual(self.parts()["n5"], "observer")
        self.told("promote", "n5")
        self.told("--force", "replace", "n4", "n7", "h:4")
        self.told("remove", "memory", "--force")
        self.assertEqual(self.parts(), {"n5": "voter", "n6": "observer", "n7": "voter"})
        self.assertIn("rev", json.loads(self.told("remove", "n6", "--json")))

    def test_plan(self) -> None:
        """A plan prints what it would come to, and nothing is done."""
        lines = self.told("plan", "add", "n4", "h:1").splitlines()
        self.assertIn("voters memory n4: 2 of 2 needed", lines[-1])
        self.assertEqual(self.parts(), {"memory": "voter"})
        rows = self.told("--json", "plan", "add", "n4", "h:1").splitlines()
        self.assertEqual(json.loads(rows[-1]), {"text": lines[-1]})

    def test_refused(self) -> None:
        """What the cluster refuses is an error of its own."""
        for words, kind in ((("add", "memory", "h:1"), Exists), (("remove", "n9"), NoEntry)):
            done, _ = self.begin(*words)
            self.failureResultOf(done, kind)

    def test_usage(self) -> None:
        """What is no change is told before any server is asked, with status 2."""
        for words in (
            ["grow"],
            ["plan"],
            ["add", "n4"],
            ["add", "N4", "h:1"],
            ["remove", "n1", "--observer"],
            ["add", "n4", "h:1", "--observer", "--wait"],
            ["plan", "add", "n4", "h:1", "--wait"],
        ):
            self.assertRaises(Usage, change_of, parser().parse_args(["member", *words]))
            told = io.StringIO()
            with redirect_stderr(told):
                self.assertEqual(main(["member", *words]), 2)
            self.assertRegex(told.getvalue(), r"\Acoord: [^\n]+\n\Z")

    def test_wait(self) -> None:
        """With --wait the command ends when the new node votes, also where it was added before."""
        self.assertTrue(self.told("add", "n4", "h:1", "--wait"))
        self.assertEqual(
            self.notes, ["n4 learns, if it runs; it votes once it is close, also if nobody waits"]
        )
        rev = self.client.store.rev
        self.assertEqual(self.told("add", "n4", "h:1", "--wait"), f"{rev}\n")
        done, _ = self.begin("add", "n4", "h:9", "--wait")
        self.failureResultOf(done, Exists)
        self.told("add", "n5", "h:2", "--observer")
        given = parser().parse_args(["member", "replace", "n4", "n5", "h:1", "--wait"])
        self.assertTrue(given.wait)


class Waiting(MemberCase):
    """--wait, where a node takes its time to learn."""

    def setUp(self) -> None:
        """Have an added node learn until the test says that it has."""
        super().setUp()
        self.change = self.client.store.change_members
        self.patch(self.client.store, "change_members", self.slowly)

    def slowly(self, change: object) -> object:
        """Do a change, and tell of the new node as of one that learns yet."""
        done = self.change(change)  # type: ignore[arg-type]
        self.tell("h:1 observer")
        return done

    def tell(self, *texts: str) -> None:
        """Let the cluster say of n4 what it is."""
        members = (("memory", "memory:0"), *(("n4", text) for text in texts))
        self.client.store.perform(Roster(members))

    def test_wait(self) -> None:
        """The command goes on waiting while the node learns, whatever else is told of it."""
        done, out = self.begin("add", "n4", "h:1", "--wait")
        self.assertNoResult(done)
        self.tell("h:2 observer")
        self.assertNoResult(done)
        self.tell("h:2")
        self.assertEqual(self.successResultOf(done), 0)
        self.assertRegex(out.getvalue(), rb"\A[0-9]+\n\Z")

    def test_removed_meanwhile(self) -> None:
        """Where the node is removed before it voted the command says so."""
        done, _ = self.begin("add", "n4", "h:1", "--wait")
        self.tell()
        error: CoordError = self.failureResultOf(done, NoEntry).value
        self.assertIn("n4", error.text)
