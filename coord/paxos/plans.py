"""What a change of members makes of a configuration, and whether that one could stand.

Each function takes a configuration and returns the one that the change leads to, or raises what
is to be answered: `NoEntry`, `Exists`, or `BadRequest` where it makes no sense whatever is forced.
None of them asks who is up; that is for `Outlook`, which counts, and `refuse_unless_it_stands`.

A change never takes more than one vote or gives more than one, or swaps one for one. So majorities
before and after have a voter in common, and nothing here is needed for safety (`Membership` and the
leader see to that) but for not standing still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from coord.errors import BadRequest, Exists, NoEntry
from coord.paxos.membership import Configuration, Member


# -- changes ---------------------------------------------------------------------------------
def described(configuration: Configuration, addresses: Mapping[str, str]) -> Configuration:
    """Return the configuration with something said of each node, by ``addresses`` where new."""
    members = [
        configuration.member(node) or Member(node, addresses.get(node, ""), is_original=True)
        for node in configuration.nodes
    ]
    return _make(configuration.voters, configuration.learners, members)


def bound(
    configuration: Configuration, disks: Mapping[str, str], addresses: Mapping[str, str]
) -> Configuration:
    """Return the configuration with each node of ``disks`` bound to its disk, if it had none."""
    whole = described(configuration, addresses)
    members = [
        msgspec.structs.replace(one, disk=one.disk or disks.get(one.node, ""))
        for one in whole.members
    ]
    return _make(whole.voters, whole.learners, members)


def reached(configuration: Configuration, node: str, address: str) -> Configuration:
    """Return the configuration in which ``node`` is reached at ``address``."""
    members = [
        msgspec.structs.replace(one, address=address) if one.node == node else one
        for one in configuration.members
    ]
    return _make(configuration.voters, configuration.learners, members)


def added(
    configuration: Configuration, node: str, address: str, *, is_observer: bool = False
) -> Configuration:
    """Return the configuration in which ``node`` learns too.

    :raises Exists: where there is such a member, or another one at that address.
    """
    if node in configuration.nodes:
        raise Exists(f"{node} is a member already; {_names(configuration)}")
    _refuse_address(configuration, node, address)
    member = Member(node, address, wants_vote=not is_observer)
    return _make(
        configuration.voters, (*configuration.learners, node), (*configuration.members, member)
    )


def removed(configuration: Configuration, node: str) -> Configuration:
    """Return the configuration without ``node``.

    :raises NoEntry: where there is no such member.
    :raises BadRequest: where nobody would vote any more.
    """
    _refuse_stranger(configuration, node)
    _refuse_last(configuration, node)
    members = [
        msgspec.structs.replace(one, replaces="") if one.replaces == node else one
        for one in configuration.members
        if one.node != node
    ]
    return _make(
        _without(configuration.voters, node), _without(configuration.learners, node), members
    )


def promoted(configuration: Configuration, node: str) -> Configuration:
    """Return the configuration in which ``node`` votes, and whom it replaces is no member.

    :raises NoEntry: where there is no such member.
    :raises Exists: where it votes already.
    """
    _refuse_stranger(configuration, node)
    if node in configuration.voters:
        raise Exists(f"{node} has its vote already; {_names(configuration)}")
    member = configuration.member(node) or Member(node, "")
    voting = msgspec.structs.replace(member, wants_vote=False, replaces="")
    with_it = _make(
        (*configuration.voters, node),
        _without(configuration.learners, node),
        (*(one for one in configuration.members if one.node != node), voting),
    )
    return removed(with_it, member.replaces) if member.replaces in with_it.nodes else with_it


def replaced(configuration: Configuration, old: str, new: str, address: str) -> Configuration:
    """Return the configuration in which ``new`` learns, to take the vote of ``old`` once close.

    Where ``old`` has no vote, ``new`` takes its place at once. By the same name it is ``old`` on an
    empty disk: it loses its vote at once and gets it back once it is close.

    :raises NoEntry: where ``old`` is no member.
    :raises Exists: where ``new`` is one, or another one is to replace ``old``.
    :raises BadRequest: where nobody would vote any more.
    """
    _refuse_stranger(configuration, old)
    if new != old and new in configuration.nodes:
        raise Exists(f"{new} is a member already; {_names(configuration)}")
    _refuse_address(configuration, old, address)
    was = configuration.member(old) or Member(old, "")
    if old not in configuration.voters:
        heir = Member(new, address, "", was.wants_vote, was.replaces)
    elif new == old:
        _refuse_last(configuration, old)
        heir = Member(old, address, wants_vote=True)
    else:
        return _with_successor(configuration, old, Member(new, address, "", True, old))
    voters, learners = configuration.voters, configuration.learners
    others = [one for one in configuration.members if one.node != old]
    return _make(_without(voters, old), (*_without(learners, old), new), (*others, heir))


def waiting(configuration: Configuration) -> tuple[Member, ...]:
    """Return the learners that are to get a vote once they are close."""
    return tuple(
        one
        for one in configuration.members
        if one.wants_vote and one.node in configuration.learners
    )


# -- whether it stands -------------------------------------------------------------------------
class Outlook(msgspec.Struct, frozen=True):
    """How a configuration stands while the nodes in ``up`` are there and no others."""

    configuration: Configuration
    up: frozenset[str]

    @property
    def has_quorum(self) -> bool:
        """Whether a majority of its voters is up."""
        return self.spare >= 0

    @property
    def spare(self) -> int:
        """How many more voters may fail; below 0, how many are missing."""
        return len(self._present()) - self.configuration.majority

    @property
    def text(self) -> str:
        """The arithmetic in one line."""
        voters = self.configuration.voters
        line = f"voters {' '.join(voters)}: {self.configuration.majority} of {len(voters)} needed"
        line += f", up {' '.join(self._present()) or 'none'}: "
        if self.spare < 0:
            return line + f"{-self.spare} too few, nothing can be written"
        return line + (f"{self.spare} more may fail" if self.spare else "none more may fail")

    def _present(self) -> tuple[str, ...]:
        return tuple(node for node in self.configuration.voters if node in self.up)


def refuse_unless_it_stands(after: Configuration, up: Collection[str]) -> None:
    """Raise `BadRequest`, with the arithmetic, where ``after`` would have no quorum.

    :param up: the nodes that are there as the leader sees it, itself among them.
    """
    outlook = Outlook(after, frozenset(up))
    if outlook.has_quorum:
        return
    down = " ".join(node for node in after.voters if node not in up)
    raise BadRequest(
        f"that would lose the quorum: {outlook.text}; start {down} first, or say force:"
        f" then nothing can be written or undone until enough of them are up"
    )


def plan(before: Configuration, after: Configuration, up: Collection[str]) -> tuple[str, ...]:
    """Return before and after, a line each, and what it comes to once all have their votes."""
    there = frozenset(up)
    rows = [f"before {Outlook(before, there).text}", f"after {Outlook(after, there).text}"]
    final = after
    for one in waiting(after):
        swap = f", in place of {one.replaces}" if one.replaces else ""
        rows.append(f"then {one.node} learns, and votes once it is close{swap}")
        final = promoted(final, one.node)
    if final is not after:
        grown = there.union(one.node for one in waiting(after))
        rows.append(f"in the end {Outlook(final, grown).text}")
    observers = _without(final.learners, *final.voters)
    if observers:
        rows.append(f"observers {' '.join(observers)}: they never count")
    return tuple(rows)


# -- pieces ------------------------------------------------------------------------------------
def _make(
    voters: Iterable[str], learners: Iterable[str], members: Iterable[Member]
) -> Configuration:
    in_order = sorted(members, key=lambda one: one.node)
    return Configuration(tuple(sorted(voters)), tuple(sorted(learners)), tuple(in_order))


def _with_successor(configuration: Configuration, old: str, heir: Member) -> Configuration:
    for one in configuration.members:
        if one.replaces == old:
            raise Exists(f"{one.node} is to replace {old} already; remove {one.node} first")
    return _make(
        configuration.voters, (*configuration.learners, heir.node), (*configuration.members, heir)
    )


def _without(nodes: Iterable[str], *gone: str) -> tuple[str, ...]:
    return tuple(node for node in nodes if node not in gone)


def _names(configuration: Configuration) -> str:
    return f"members: {' '.join(sorted(configuration.nodes))}"


def _refuse_stranger(configuration: Configuration, node: str) -> None:
    if node not in configuration.nodes:
        raise NoEntry(f"{node} is no member; {_names(configuration)}")


def _refuse_last(configuration: Configuration, node: str) -> None:
    if configuration.voters == (node,):
        raise BadRequest(f"{node} is the last voter: nothing could ever be written again")


def _refuse_address(configuration: Configuration, node: str, address: str) -> None:
    for one in configuration.members:
        if one.node != node and one.address == address:
            raise Exists(f"{address} is the address of {one.node}")
