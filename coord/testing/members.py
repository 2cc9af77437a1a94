"""The nodes of a cluster that is none: they change as they are asked to, and are all up.

What a change comes to is what the cluster's own code makes of it (`coord.paxos.plans`).
"""

from __future__ import annotations

from coord.commands import ChangeMembers, Roster
from coord.errors import CoordError
from coord.paxos import plans
from coord.paxos.membership import Configuration, Member
from coord.replicator.applier import roster_of
from coord.replicator.reconfiguring import changed


class Members:
    """Who they are. A node that is added is close at once, and so gets its vote."""

    def __init__(self, name: str, address: str) -> None:
        self._configuration = Configuration((name,), members=(Member(name, address),))

    def rows(self) -> tuple[str, ...]:
        """Return what ``MEMBERS`` tells, a row for each."""
        known = self._configuration
        return tuple(
            f"{one.node} {one.address} {'voter' if one.node in known.voters else 'observer'} up"
            for one in known.members
        )

    def roster(self) -> Roster:
        """Return the write that tells the store of them."""
        return roster_of(self._configuration)

    def plan(self, change: ChangeMembers) -> tuple[str, ...] | CoordError:
        """Return what a change would come to, without doing it."""
        before = self._configuration
        try:
            after = changed(change, before)
        except CoordError as problem:
            return problem
        return plans.plan(before, after, {*before.nodes, *after.nodes})

    def change(self, change: ChangeMembers) -> CoordError | None:
        """Do a change; return why not, where it cannot be."""
        try:
            self._configuration = changed(change, self._configuration)
        except CoordError as problem:
            return problem
        for one in plans.waiting(self._configuration):
            self._configuration = plans.promoted(self._configuration, one.node)
        return None
