"""The nodes of a cluster that is none: they change as they are asked to, and are all up."""

from __future__ import annotations

from typing import Final

from coord.client.rows import Member
from coord.commands import ChangeMembers, Deed, Roster
from coord.errors import BadRequest, CoordError, Exists, NoEntry

VOTER: Final = "voter"
OBSERVER: Final = "observer"


class Members:
    """Who they are, by name. A node that is added is close at once, and so gets its vote."""

    def __init__(self, name: str, address: str) -> None:
        self._members = {name: Member(name, address, VOTER, is_up=True)}

    def rows(self) -> tuple[str, ...]:
        """Return what ``MEMBERS`` tells, a row for each."""
        found = sorted(self._members.values(), key=lambda one: one.name)
        return tuple(f"{one.name} {one.address} {one.part} up" for one in found)

    def roster(self) -> Roster:
        """Return the write that tells the store of them."""
        return Roster(tuple((name, _told(one)) for name, one in sorted(self._members.items())))

    def plan(self, change: ChangeMembers) -> tuple[str, ...] | CoordError:
        """Return what a change would come to, without doing it."""
        before = self.describe()
        changed = self._changed(change)
        if isinstance(changed, CoordError):
            return changed
        after = Members("", "")
        after._members = changed
        return (f"before: {before}", f"after: {after.describe()}")

    def change(self, change: ChangeMembers) -> CoordError | None:
        """Do a change; return why not, where it cannot be."""
        changed = self._changed(change)
        if isinstance(changed, CoordError):
            return changed
        self._members = changed
        return None

    def describe(self) -> str:
        """Return them in one line."""
        return ", ".join(f"{one.name} {one.part}" for _, one in sorted(self._members.items()))

    def _changed(self, change: ChangeMembers) -> dict[str, Member] | CoordError:
        is_added = change.deed is Deed.ADD
        if is_added and change.node in self._members:
            return Exists(f"{change.node} is a member already")
        if not is_added and change.node not in self._members:
            return NoEntry(f"{change.node} is no member")
        changed = {**self._members}
        match change.deed:
            case Deed.ADD:
                part = OBSERVER if change.is_observer else VOTER
                changed[change.node] = Member(change.node, change.address, part, is_up=True)
            case Deed.REMOVE:
                del changed[change.node]
            case Deed.PROMOTE:
                return self._promoted(changed, change.node)
            case Deed.REPLACE:
                return self._replaced(changed, change)
        if all(one.part != VOTER for one in changed.values()):
            return BadRequest(f"{change.node} is the last voter")
        return changed

    def _promoted(self, changed: dict[str, Member], node: str) -> dict[str, Member] | CoordError:
        old = changed[node]
        if old.part == VOTER:
            return BadRequest(f"{node} is a voter already")
        changed[node] = Member(node, old.address, VOTER, is_up=True)
        return changed

    def _replaced(
        self, changed: dict[str, Member], change: ChangeMembers
    ) -> dict[str, Member] | CoordError:
        old = changed.pop(change.node)
        if change.successor in changed:
            return Exists(f"{change.successor} is a member already")
        changed[change.successor] = Member(change.successor, change.address, old.part, is_up=True)
        return changed


def _told(member: Member) -> str:
    """Return what ``/ctl/members/NAME`` holds."""
    return member.address if member.part == VOTER else f"{member.address} {OBSERVER}"
