"""The door for front ends: requests in, batches out, answers back.

A front end submits *groups*: commands of one connection that are answered together.

* A group that writes waits in the queue. At the end of the turn everything queued becomes
  one batch, up to a few batches in flight; the fuller the node, the larger they grow. A
  read in such a group *rides*: it is answered at its place between the writes when the
  batch is applied here. That is linearizable, since the batch was sent after the read came.
* A group that only reads is answered at once where this node leads with a lease, or else
  at the point that the leader names; all groups that wait share one question, but none
  that came after the question was sent, for the answer may be older than such a group.
* ``local`` reads are answered at once.

What a deadline means depends on how far a write got. In the queue: ``UNAVAILABLE``, and it never
happens. In a batch that was sent, even if only to a leader that is no more: ``UNKNOWN``,
and the batch is sent again until its fate is known, as those numbered after it must wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coord.commands import CLUSTER, Caller, OpenSession, Read, Write
from coord.errors import CoordError
from coord.events import SessionEvent
from coord.paths import Glob
from coord.replicator.interfaces import IAttachment
from coord.replicator.queues import Answer, Group
from coord.replicator.replicator import Replicator
from coord.results import Granted, Items, LockRow, Rows, SessionRow
from coord.store.watches import Watch


class Coordinator:
    """What every front end of a node talks to; provides `ICoordinator`."""

    def __init__(self, replicator: Replicator, request_seconds: float) -> None:
        self._replicator = replicator
        self._request_seconds = request_seconds

    @property
    def rev(self) -> int:
        """This node's revision as it stands."""
        return self._replicator.store.rev

    def submit(
        self, commands: Sequence[Write | Read], answer: Answer, caller: Caller = CLUSTER
    ) -> None:
        """Do a group of commands in order; ``answer`` gets a result for each, once.

        It may be called before this returns. Each result is one that the command's class
        names, or a `CoordError`: one of its own, ``UNAVAILABLE`` (not done), ``UNKNOWN`` (a write
        whose fate is open) or ``OVERLOADED`` (not done).
        """
        deadline = self._replicator.now() + self._request_seconds
        group = Group(commands, answer, deadline)
        if group.writes:
            self._replicator.write(group)
        elif group.is_local:
            self._replicator.answer(group)
        else:
            self._replicator.read(group)

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
    ) -> Watch:
        """Watch from now, or from a revision on; ``wake`` is called when there is something.

        :raises TooLate: when the history after that revision is gone.
        """
        return self._replicator.store.watch(glob, after_rev, wake)

    def status(self) -> Items:
        """Return how this node is, as ``name=value``."""
        return self._replicator.account.status()

    def members(self) -> Items:
        """Return the cluster as this node sees it: node, address, part, up or down."""
        return self._replicator.account.members()

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Return how what matches now differs from what was there at a revision long gone."""
        return self._replicator.store.difference(glob, after_rev, caller)

    def new_session(self, timeout_ms: int) -> tuple[OpenSession, str]:
        """Return the write that opens a session, and its key."""
        raise NotImplementedError

    def attach(
        self, session: str, told: Callable[[SessionEvent], None], *, own: bool
    ) -> IAttachment:
        """Bind a connection to a session."""
        raise NotImplementedError

    def await_lock(
        self, path: str, session: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for what becomes of a session's place in the queue of a lock."""
        raise NotImplementedError

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first, as this node has them."""
        return self._replicator.store.sessions()

    def locks(self) -> list[LockRow]:
        """Return the locks in path order, as this node has them."""
        return self._replicator.store.locks()
