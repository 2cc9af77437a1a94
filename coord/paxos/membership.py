"""Configurations, and which one governs a slot (PMMC 3, PML 5.4).

A configuration is a value like any other: chosen in slot s, it governs from slot s + alpha. Each
slot is a Paxos of its own, with its own acceptors, so all must agree who these are *before* anyone
proposes there. A leader never has a slot open that lies alpha or more beyond the chosen prefix: so
whoever proposes in a slot has learnt the configuration that governs it. Hence the distance, and
hence a leader that wants a configuration in force fills the slots up to there with values that do
nothing (`coord.paxos.leadership`): one round trip, also where nobody writes. ::

    slot     s          s+1 ... s+alpha-1 | s+alpha ...
    holds    C2         writes and no-ops |
    chosen   by C1      by C1             | by C2
    to stand for election: C1 and C2      | C2 alone

Old and new voters need have nobody in common, so five things are more subtle than they look:

1. The promises that made a leader came from the voters that it knew. If it learns of C2 only later,
   from what phase 1 found, C2 may have gone on without it under another leader. So no slot that
   C2 governs is opened, and nothing read after it, before a majority of C2 has promised this
   ballot, too (`coord.paxos.coverage`). That holds for a configuration of its own making as well.
2. A lease holds as long as a majority of those who could elect another leader grant it. Once C2
   governs the next slot, that is C2, whatever C1 has granted: the lease is counted anew. And since
   one who knows only C1 may still be elected by C1, an acceptor that has granted a lease promises
   and grants that one nothing until it ends, though it hears its beats (`coord.paxos.replica`).
3. A leader that has no vote in C2 leads until C2 governs, tells all what was chosen, and leads no
   more. Who has no vote but in C1 may stand until then, as perhaps nobody else can. Afterwards it
   never does; that C1 governs nothing any more is saved at once, as C1 may be gone for good.
4. The first configuration is what each node was told. Two nodes whose disks were emptied believe
   it, too, and are a majority of three: see `coord.paxos.elections` for how they hold back.
5. A node whose disk was replaced has promised nothing, whatever its name once promised
   (`Configuration.departed`). It is linked with those, too, who do not know that yet; so who is
   linked with one that knows a later configuration leads no more, and learns first. And a disk that
   was set back has promised more than it knows (`coord.paxos.witness`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Member(msgspec.Struct, frozen=True, array_like=True):
    """What a configuration says of one node beside its part.

    ``address`` is where the others reach it (``host:port``). ``disk`` names the directory whose
    promises and votes count, "" until it was first heard of: with another one the node is not the
    one that was admitted. A learner that ``wants_vote`` gets it once it is close, and where it
    ``replaces`` a node, that one loses its own in the same step; other learners are observers.
    One that ``is_original`` was there from the beginning, at an address that each node was told for
    itself when it started: who was told another one has a reason, and keeps to that.
    """

    node: str
    address: str
    disk: str = ""
    wants_vote: bool = False
    replaces: str = ""
    is_original: bool = False


class Configuration(msgspec.Struct, frozen=True, array_like=True, tag="configuration"):
    """Who votes (``voters``) and who only learns (``learners``): names of nodes, sorted.

    ``members`` says more of each of them, sorted by name; it is empty in a cluster's first
    configuration, which comes from what its nodes were told at their first start. ``founding``
    names the history that it belongs to, and all later ones take it over: the disk of who led when
    members were first described. Emptied nodes that found their cluster anew have another one.
    """

    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    founding: str = ""

    @property
    def majority(self) -> int:
        """How many voters make a quorum: any two quorums share a voter."""
        return len(self.voters) // 2 + 1

    @property
    def nodes(self) -> tuple[str, ...]:
        """Everyone who is told what was chosen."""
        return self.voters + self.learners

    def member(self, node: str) -> Member | None:
        """Return what is said of ``node``, None where nothing is."""
        return next((one for one in self.members if one.node == node), None)

    def disk(self, node: str) -> str:
        """Return the disk that ``node`` is bound to, "" where there is none."""
        member = self.member(node)
        return member.disk if member else ""

    def departed(self, before: Configuration) -> tuple[str, ...]:
        """Return who of the nodes before is gone, or was bound to a disk and is not any more.

        What these have promised counts for nothing: they may come back without knowing of it.
        """
        return tuple(
            node
            for node in before.nodes
            if node not in self.nodes or before.disk(node) not in ("", self.disk(node))
        )

    def is_quorum(self, nodes: Iterable[str]) -> bool:
        """Say whether ``nodes`` hold a majority of the voters."""
        return len(set(nodes).intersection(self.voters)) >= self.majority


class Governs(msgspec.Struct, frozen=True, array_like=True):
    """``configuration`` governs from ``slot`` on, until the next one does."""

    slot: int
    configuration: Configuration


class Membership:
    """The configurations that still matter: the one in force, and those to come."""

    def __init__(self, governs: Iterable[Governs], alpha: int) -> None:
        self._governs = sorted(governs, key=lambda one: one.slot)
        self._known = tuple(self._governs)
        self._alpha = alpha
        assert self._governs, "a replica knows who its peers are from the start"

    def at(self, slot: int) -> Configuration:
        """Return the configuration that governs ``slot``."""
        found = self._governs[0]
        for one in self._governs:
            if one.slot > slot:
                break
            found = one
        return found.configuration

    def since(self, slot: int) -> tuple[Configuration, ...]:
        """Return every configuration that governs ``slot`` or a later one, as far as known."""
        later = tuple(one.configuration for one in self._governs if one.slot > slot)
        return (self.at(slot), *later)

    @property
    def latest(self) -> Configuration:
        """The configuration that will be in force once all known ones are."""
        return self._governs[-1].configuration

    @property
    def knowledge(self) -> int:
        """The slot from which on the latest configuration that is known governs."""
        return self._governs[-1].slot

    def learn(self, slot: int, configuration: Configuration) -> None:
        """Note that ``configuration`` was chosen in ``slot``; forget those it overtook."""
        if slot + self._alpha > self._governs[-1].slot:  # else known from the disk
            self._governs.append(Governs(slot + self._alpha, configuration))
            self._known = tuple(self._governs)
        self.passed(slot)

    def passed(self, slot: int) -> bool:
        """Forget what governs nothing after ``slot``, which is chosen; True if there was any."""
        count = len(self._governs)
        while len(self._governs) > 1 and self._governs[1].slot <= slot + 1:
            del self._governs[0]
            self._known = tuple(self._governs)
        return len(self._governs) < count

    def replace(self, governs: Iterable[Governs]) -> None:
        """Take what another node knows that is further on, as what is known here."""
        self._governs = sorted(governs, key=lambda one: one.slot)
        self._known = tuple(self._governs)
        assert self._governs, "a replica knows who its peers are"

    def known(self) -> tuple[Governs, ...]:
        """Return what has to be kept on disk."""
        return self._known
