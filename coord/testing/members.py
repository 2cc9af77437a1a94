"""The nodes of a cluster that is none: they change as they are asked to, and are all up.

What a change comes to is what the cluster's own code makes of it (`coord.paxos.plans`).
"""

from __future__ import annotations

from typing import Final

from coord.commands import ChangeMembers, Deed, Roster
from coord.errors import CoordError
from coord.paxos import plans
from coord.paxos.membership import Configuration, Member

OBSERVER: Final = "observer"


class Members:
    """Who they are. A node that is added is close at once, and so gets its vote."""

    def __init__(self, name: str, address: str) -> None:
        self._configuration = Configuration((name,), members=(Member(name, address),))

    def rows(self) -> tuple[str, ...]:
        """Return what ``MEMBERS`` tells, a row for each."""
        return tuple(
            f"{one.node} {one.address} {'voter' if self._votes(one) else OBSERVER} up"
            for one in self._configuration.members
        )

    def roster(self) -> Roster:
        """Return the write that tells the store of them."""
        return Roster(
            tuple(
                (one.node, one.address if self._votes(one) else f"{one.address} {OBSERVER}")
                for one in self._configuration.members
            )
        )

    def plan(self, change: ChangeMembers) -> tuple[str, ...] | CoordError:
        """Return what a change would come to, without doing it."""
        before = self._configuration
        try:
            after = _changed(change, before)
        except CoordError as problem:
            return problem
        return plans.plan(before, after, {*before.nodes, *after.nodes})

    def change(self, change: ChangeMembers) -> CoordError | None:
        """Do a change; return why not, where it cannot be."""
        try:
            self._configuration = _changed(change, self._configuration)
        except CoordError as problem:
            return problem
        for one in plans.waiting(self._configuration):
            self._configuration = plans.promoted(self._configuration, one.node)
        return None

    def _votes(self, member: Member) -> bool:
        return member.node in self._configuration.voters


def _changed(change: ChangeMembers, before: Configuration) -> Configuration:
    match change.deed:
        case Deed.ADD:
            is_observer = change.is_observer
            return plans.added(before, change.node, change.address, is_observer=is_observer)
        case Deed.REMOVE:
            return plans.removed(before, change.node)
        case Deed.PROMOTE:
            return plans.promoted(before, change.node)
        case Deed.REPLACE:
            return plans.replaced(before, change.node, change.successor, change.address)
