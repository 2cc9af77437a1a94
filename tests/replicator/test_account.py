"""What a node tells of itself: its account, its traces, and what comes of stepping down."""

from __future__ import annotations

from coord.commands import Deed, Get
from coord.paxos.effects import Effects
from coord.paxos.messages import Query
from coord.replicator.account import Durations
from coord.replicator.tracing import TRACE_LINES_MAX, Trace, Traces
from tests.replicator.case import Case
from tests.replicator.members_case import MembersCase


class Accounts(Case):
    """Status, trouble and figures."""

    def test_trouble(self) -> None:
        """A node that serves has no trouble; one that lost the others says so in one line."""
        self.found(3)
        name = self.leader()
        account = self.nodes[name].replicator.account
        self.assertIsNone(account.trouble())
        self.hub.isolate(name)
        self.advance(2.0)
        self.assertIn("no quorum", account.trouble() or "")
        self.assertFalse(account.serves())

    def test_fault(self) -> None:
        """A node whose journal failed says that, whatever the others do."""
        self.found(1)
        replicator = self.nodes["n1"].replicator
        replicator.failed(OSError("the disk\nis full"))
        self.assertEqual(replicator.account.trouble(), "journal: the disk is full")
        self.flushLoggedErrors()

    def test_figures(self) -> None:
        """Writes, reads and batches are counted, and how long batches took."""
        self.found(1)
        account = self.nodes["n1"].replicator.account
        before = account.figures()
        for number in range(3):
            self.set("n1", f"/k{number}")
        self.advance(0.1)
        self.submit("n1", Get("/k1"), Get("/k2"))
        after = account.figures()
        self.assertEqual(after["writes"] - before["writes"], 3)
        self.assertEqual(after["reads"] - before["reads"], 2)
        self.assertEqual(after["proposals"] - before["proposals"], 1)
        self.assertEqual(after["revision"] - before["revision"], 3)
        self.assertEqual(account.batch_seconds.buckets()[-1], ("+Inf", 1))

    def test_durations(self) -> None:
        """Each bound counts all that took no longer."""
        durations = Durations()
        for seconds in (0.0001, 0.003, 100.0):
            durations.count(seconds)
        buckets = dict(durations.buckets())
        self.assertEqual((buckets["0.0005"], buckets["0.004"], buckets["+Inf"]), (1, 2, 3))


class Remarks(MembersCase):
    """What is said of members beside their rows."""

    def test_remarks(self) -> None:
        """Who leads, who learns and in whose place, and who is behind, as the leader knows it."""
        self.found(3)
        leader, (other, cut) = self.leader(), self.followers()
        self.do(Deed.REPLACE, other, successor="n4", address="n4:1")
        self.hub.isolate(cut)
        for number in range(100):
            self.set(leader, f"/k{number}")
            self.advance(0.02)
        account = self.nodes[leader].replicator.account
        self.assertEqual(account.remarks(leader), ["leads"])
        self.assertEqual(account.remarks(other), [])
        self.assertEqual(account.remarks("n4"), [f"learns, to vote in place of {other}"])
        (behind,) = account.remarks(cut)
        self.assertRegex(behind, r"\A[0-9]+ slots behind\Z")


class SteppingDown(Case):
    """A leader asked to lead no more."""

    def test_done(self) -> None:
        """Another node leads soon, and a write that was under way is done once."""
        self.found(3)
        name = self.leader()
        asked = self.set(name, "/a")
        self.assertIsNone(self.nodes[name].replicator.step_down())
        self.advance(2.5)
        self.assertNotEqual(self.leader(), name)
        self.assertEqual(asked.results[0].rev, self.base + 1)  # type: ignore[union-attr]

    def test_refused(self) -> None:
        """A node that does not lead, or is the only one that could, says so and goes on."""
        self.found(3)
        (follower, _) = self.followers()
        said = self.nodes[follower].replicator.step_down()
        self.assertEqual(said, f"{follower} does not lead; {self.leader()} does")
        leader = self.leader()
        for other in self.followers():
            self.hub.isolate(other)
        self.assertIn("no other voter", self.nodes[leader].replicator.step_down() or "")


class Tracing(Case):
    """The talk between nodes, line by line."""

    def test_write(self) -> None:
        """A trace of a leader tells of a write's proposal, its save, the votes and the slot."""
        self.found(3)
        name = self.leader()
        woken: list[int] = []
        trace = self.nodes[name].replicator.traces.open(lambda: woken.append(1))
        self.set(name, "/a")
        self.advance(0.1)
        lines = trace.take(100)
        self.assertTrue(woken)
        for text in (f"{name} -> ", "Accept ", f"-> {name} Accepted", "saves promised", "takes"):
            self.assertTrue([line for line in lines if text in line], (text, lines))
        self.assertFalse([line for line in lines if "Beat" in line])

    def test_ended(self) -> None:
        """A trace that was closed leaves nothing behind."""
        self.found(3)
        traces = self.nodes["n1"].replicator.traces
        trace = traces.open(lambda: None, beats=True)
        self.advance(0.2)
        self.assertTrue([line for line in trace.take(100) if "Beat" in line])
        trace.close()
        trace.close()
        self.advance(0.2)
        self.assertFalse(traces.is_on)
        self.assertEqual(trace.take(100), [])

    def test_renews(self) -> None:
        """That sessions are told and confirmed shows among the beats, at both ends."""
        self.found(3)
        leader, (name, _) = self.leader(), self.followers()
        opening, _ = self.nodes[name].coordinator.new_session(10_000)
        self.submit(name, opening)
        self.advance(0.1)
        traces = [
            self.nodes[one].replicator.traces.open(lambda: None, beats=beats)
            for one, beats in ((leader, True), (name, True), (name, False))
        ]
        self.nodes[name].coordinator.attach(opening.session, lambda event: None, own=False)
        self.advance(0.2)
        at_leader, at_follower, plain = ("\n".join(one.take(1000)) for one in traces)
        for lines in (at_leader, at_follower):
            self.assertIn(f"{name} -> {leader} Renew 1 of 1 sessions", lines)
            self.assertIn(f"{leader} -> {name} Renewed 1", lines)
        self.assertNotIn("Renew", plain)

    def test_not_read(self) -> None:
        """A trace that nobody reads keeps so many lines and then counts what it lost."""
        traces = Traces("n1", lambda: 1.0)
        trace = traces.open(lambda: None)
        for _ in range(TRACE_LINES_MAX + 5):
            traces.note("x")
        lines = trace.take(TRACE_LINES_MAX)
        self.assertEqual(lines[0], "+1.000 x")
        self.assertEqual(lines[-1], "... 5 lines are left out: they came too fast")
        traces.note("again")
        self.assertEqual(trace.take(10), ["+1.000 again"])

    def test_bug(self) -> None:
        """A bug in telling ends the traces and not the node."""
        traces = Traces("n1", lambda: 1 / 0)
        traces.open(lambda: None)
        traces.received("n2", Query(1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(traces.is_on)
        traces.obeyed(Effects())
        self.assertIsInstance(traces.open(lambda: None), Trace)
