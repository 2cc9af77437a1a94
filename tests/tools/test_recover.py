"""``coord recover``: what it looks at, what it says, and what it changes."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import CLUSTER, Genesis, Set
from coord.journal.sqlite import open_journal
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save, Vote
from coord.paxos.membership import Configuration, Governs, Member
from coord.replicator.admission import REMOVED
from coord.replicator.applier import FOUNDER
from coord.tools.cli import main
from coord.tools.recover import REPORT, survey
from coord.wire.values import Batch, encode_batch, stamp
from tests.journal.contract import Listener
from tests.journal.test_sqlite import StoppedReactor

VOTERS = Configuration(("n1", "n2", "n3"))
NAMED = Configuration(("n1", "n2"), (), (Member("n1", "h1:1"), Member("n2", "h2:2")))
BALLOT = Ballot(3, "n2")
FIRST_MS = 1_795_000_000_000


class Recovers(SynchronousTestCase):
    """A stopped node's folder."""

    def setUp(self) -> None:
        """Make a folder for node n1."""
        self.folder = Path(self.mktemp()).absolute()
        self.data = self.folder / "data"
        self.folder.mkdir()

    def fill(self, configuration: Configuration = NAMED) -> None:
        """Let the node know two slots, and vote for a third one."""
        journal = open_journal(
            StoppedReactor(), self.data, node="n1", cluster="old", initial=(Governs(0, VOTERS),)
        )
        journal.recover()
        journal.observe(Listener())
        batches = (
            Batch(FOUNDER, 0, 0, (Genesis("old", (("n1", "h1:1"),)),)),
            Batch("n1", 1, 1, (Set("/a", b"1"),), ((1, CLUSTER),)),
            Batch("n1", 1, 2, (Set("/a", b"2"),), ((1, CLUSTER),)),
        )
        votes = tuple(
            Vote(slot, BALLOT, stamp(encode_batch(batch), FIRST_MS + slot))
            for slot, batch in enumerate(batches, 1)
        )
        journal.save(Save(1, Header(BALLOT, 2, (Governs(0, configuration),)), votes))
        self.successResultOf(journal.close())

    def config(self, text: str) -> None:
        """Write the node's config."""
        (self.folder / "coord.toml").write_text(text)

    def run_command(self, *words: str, folder: Path | None = None) -> tuple[int, str, str]:
        """Return the exit status of the command, and what it said."""
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error):
            status = main(["recover", str(folder or self.data), "--cluster", "new", *words])
        return status, out.getvalue(), error.getvalue()

    def test_survey(self) -> None:
        """It tells what is known to be chosen, what was voted for, and how far that leads."""
        self.fill()
        found = survey(self.data)
        self.assertEqual((found.node, found.cluster, found.address), ("n1", "old", "h1:1"))
        self.assertEqual((found.slot, found.reach, found.rev), (2, 3, 4))
        self.assertEqual(found.time_ms, FIRST_MS + 3)
        self.assertEqual(found.voters, ("n1", "n2"))
        text = "\n".join(found.describe())
        self.assertIn("node n1 of the cluster old, voters n1 n2", text)
        self.assertIn("revision 4", text)

    def test_removed(self) -> None:
        """Of a node that was removed it says so, and that no longer keeps it from starting."""
        self.fill()
        (self.data / REMOVED).write_text("n1 was removed")
        status, said, _ = self.run_command("--yes")
        self.assertEqual(status, 0)
        self.assertIn("was removed from that cluster", said)
        self.assertIn("was removed", (self.data / REPORT).read_text())
        self.assertFalse((self.data / REMOVED).exists())

    def test_twice(self) -> None:
        """What was recovered once is known by its new name, and can be again under another."""
        self.fill()
        self.assertEqual(self.run_command("--yes")[0], 0)
        found = survey(self.data)
        self.assertEqual((found.cluster, found.address, found.rev), ("new", "h1:1", 5))
        self.assertEqual(found.voters, ("n1",))
        status, _, error = self.run_command("--yes")
        self.assertEqual(status, 1)
        self.assertIn("new is what the cluster was called", error)
        self.assertEqual(self.run_command("--cluster", "newer", "--yes")[0], 0)
        self.assertEqual(len((self.data / REPORT).read_text().split("forced recovery")), 3)

    def test_not_yet(self) -> None:
        """Without --yes it looks, and changes nothing."""
        self.fill()
        status, out, _ = self.run_command()
        self.assertEqual(status, 1)
        self.assertIn("Nothing was done", out)
        self.assertEqual(survey(self.data).cluster, "old")
        self.assertFalse((self.data / REPORT).exists())

    def test_config(self) -> None:
        """The config gets the new name, and keeps all else that is in it."""
        self.fill(VOTERS)
        text = '# one\nnode = "n1"\ncluster = "{}"\ndata = "data"\npeer = ["n1=h9:9"]\n{}'
        rest = 'peer-listen = "tcp:9"\nca = "a"\ncertificate = "b"\nkey = "c"\n'
        self.config(text.format("old", rest))
        status, out, _ = self.run_command("--yes", folder=self.folder)
        self.assertEqual(status, 0)
        self.assertIn("twistd -n coord --config", out)
        self.assertEqual((self.folder / "coord.toml").read_text(), text.format("new", rest))
        self.assertEqual(survey(self.data).address, "h9:9")

    def test_no_name_in_config(self) -> None:
        """Where the config says no name, a person is told what to say."""
        self.fill()
        self.config('node = "n1"\ndata = "data"\n')
        status, out, _ = self.run_command("--yes")
        self.assertEqual(status, 0)
        self.assertIn('cluster = "new"', out)
        self.assertEqual((self.folder / "coord.toml").read_text(), 'node = "n1"\ndata = "data"\n')

    def test_address(self) -> None:
        """Where nothing says where the node is reached, it is asked for."""
        self.fill(VOTERS)
        status, _, error = self.run_command("--yes")
        self.assertEqual(status, 1)
        self.assertIn("--address HOST:PORT", error)
        self.assertEqual(self.run_command("--yes", "--address", "h5:5")[0], 0)
        self.assertEqual(survey(self.data).address, "h5:5")

    def test_refused(self) -> None:
        """What is no node's directory, or damaged, is refused in one line."""
        status, _, error = self.run_command("--yes")
        self.assertEqual(status, 1)
        self.assertRegex(error, r"\Acoord: [^\n]+\n\Z")
        self.fill()
        journal = self.data / "coord.db"
        journal.write_bytes(journal.read_bytes()[:4096])
        for words in ((), ("--yes",)):
            status, _, error = self.run_command(*words)
            self.assertEqual(status, 1)
            self.assertRegex(error, r"\Acoord: [^\n]+\n\Z")
