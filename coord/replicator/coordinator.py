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

Ids and keys of sessions are made here, from the dice that the node was given for secrets: the log
holds an id, which others may see, and a hash of the key.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coord.commands import (
    CLUSTER,
    Caller,
    ChangeMembers,
    Get,
    Once,
    OpenSession,
    Read,
    Revert,
    Write,
)
from coord.errors import CoordError, Unavailable
from coord.events import SessionEvent
from coord.limits import SESSION_SECONDS_MAX, SESSION_SECONDS_MIN
from coord.paths import Glob
from coord.replicator.interfaces import IAttachment
from coord.replicator.queues import Answer, Group
from coord.replicator.replicator import Replicator
from coord.results import Granted, Items, LockRow, Result, Rows, SessionRow, Value
from coord.store.sessions import key_hash
from coord.store.watches import Watch

_MAY_REVERT: Final = frozenset({Revert, Once})
_ID_BYTES: Final = 8
_KEY_BYTES: Final = 24


class Coordinator:
    """What every front end of a node talks to; provides `ICoordinator`."""

    def __init__(
        self, replicator: Replicator, request_seconds: float, secrets: Callable[[int], bytes]
    ) -> None:
        self._replicator = replicator
        self._request_seconds = request_seconds
        self._secrets = secrets

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
        group = Group(commands, answer, deadline, caller)
        if not _MAY_REVERT.isdisjoint(map(type, group.writes)):
            group = self._with_values(group)
        self._hand_over(group)

    def _hand_over(self, group: Group) -> None:
        if group.writes:
            self._replicator.write(group)
        elif not group.commands:
            group.settle(())
        elif group.is_local:
            self._replicator.answer(group)
        else:
            self._replicator.read(group)

    def _with_values(self, group: Group) -> Group:
        """Return a group in which each `Revert` has its value; one without is refused here."""
        found = [self._with_value(one, group.caller) for one in group.commands]
        commands = [one for one in found if not isinstance(one, CoordError)]

        def settle(results: Sequence[Result]) -> None:
            done = iter(results)
            group.settle([one if isinstance(one, CoordError) else next(done) for one in found])

        return Group(commands, settle, group.deadline, group.caller)

    def _with_value(self, command: Write | Read, caller: Caller) -> Write | Read | CoordError:
        revert = command.write if isinstance(command, Once) else command
        if not isinstance(revert, Revert) or revert.value is not None:
            return command
        store = self._replicator.store
        if revert.rev > store.rev:
            seen = f"revision {revert.rev} yet, the newest here is {store.rev}"
            return Unavailable(f"this node has not seen {seen}: try again once it is there")
        value = store.answer(Get(revert.path, rev=revert.rev), caller)
        if isinstance(value, CoordError):
            if not isinstance(command, Once):
                return value
            # One with an id may have been done while history still went back so far.
            return Once(command.word, msgspec.structs.replace(revert, refusal=value.code))
        assert isinstance(value, Value), "that is what answers a Get"
        revert = msgspec.structs.replace(revert, value=value.value)
        return Once(command.word, revert) if isinstance(command, Once) else revert

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
        *,
        lasting: bool = False,
    ) -> Watch:
        """Watch from now, or from a revision on; ``wake`` is called when there is something.

        :raises TooLate: when the history after that revision is gone; it names the oldest one to go
            on from.
        :raises Denied: when the caller may read nothing that matches.
        :raises Unavailable: when this node takes part no more: it would never hear of anything.
        """
        refusal = self._replicator.faults.refusal()
        if refusal is not None:
            raise refusal
        return self._replicator.store.watch(glob, after_rev, wake, caller, lasting=lasting)

    def status(self) -> Items:
        """Return how this node is, as ``name=value``."""
        return self._replicator.account.status()

    def change_members(
        self, change: ChangeMembers, answer: Callable[[Result], None], caller: Caller = CLUSTER
    ) -> None:
        """Change who the members are; see `ICoordinator`."""
        self._replicator.members.change(change, answer, caller)

    def members(self) -> Items:
        """Return the cluster as this node sees it: node, address, part, up or down."""
        return self._replicator.account.members()

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Return how what matches now differs from what was there at a revision long gone."""
        self._replicator.trust()
        return self._replicator.store.difference(glob, after_rev, caller)

    def new_session(self, timeout_ms: int) -> tuple[OpenSession, str]:
        """Return the write that opens a session, and the key, of which it holds a hash only."""
        shortest, longest = int(SESSION_SECONDS_MIN * 1000), int(SESSION_SECONDS_MAX * 1000)
        session = self._secrets(_ID_BYTES).hex()
        key = urlsafe_b64encode(self._secrets(_KEY_BYTES)).decode()
        timeout_ms = min(max(timeout_ms, shortest), longest)
        return OpenSession(session, key_hash(key), timeout_ms), key

    def attach(
        self, session: str, told: Callable[[SessionEvent], None], *, own: bool
    ) -> IAttachment:
        """Bind a connection to a session; ``told`` hears of its troubles, `EXPIRED` last."""
        return self._replicator.sessions.keeper.attach(session, told, own=own)

    def await_lock(
        self, path: str, session: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for what becomes of a session's place in the queue of a lock."""
        return self._replicator.sessions.places.wait(path, session, told)

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first, as this node has them."""
        return self._replicator.store.sessions()

    def locks(self) -> list[LockRow]:
        """Return the locks in path order, as this node has them."""
        return self._replicator.store.locks()
