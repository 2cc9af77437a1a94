"""What a node tells of itself: to its clients, to people, and to those who count.

Everything here is looked up when it is asked for; on the way of a request nothing is
counted but what costs less than a glance at a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import attrs

import coord
from coord.limits import ALPHA
from coord.paxos.replica import Replica
from coord.replicator.admission import Admission
from coord.replicator.applier import Applier
from coord.replicator.digests import Digests
from coord.replicator.identity import Identity
from coord.replicator.images import Images
from coord.replicator.interfaces import IPeers
from coord.replicator.queues import Reads, Writes
from coord.replicator.saving import Saving
from coord.replicator.sessions import Sessions
from coord.results import Items

BOUNDS_SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0,
)  # fmt: skip


class Durations:
    """How often something took how long: ``counts`` has one place more than the bounds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0

    def count(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds

    def buckets(self) -> list[tuple[str, int]]:
        """Return how many took up to each bound, as Prometheus wants them."""
        total, rows = 0, []
        for bound, count in zip((*map(str, BOUNDS_SECONDS), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows


@attrs.define(kw_only=True)
class Account:
    """One node's account of itself.

    ``now`` is the replicator's clock, ``fault`` why it stopped.
    """

    identity: Identity
    replica: Replica
    applier: Applier
    writes: Writes
    reads: Reads
    images: Images
    sessions: Sessions
    digests: Digests
    saving: Saving
    admission: Admission
    peers: IPeers
    now: Callable[[], float]
    fault: Callable[[], str | None]
    began_at: float
    batch_seconds: Durations = attrs.field(factory=Durations)

    def gap(self) -> str | None:
        """Say what this node gets by no log: it was away for longer than those are kept."""
        if not self.images.receiving.is_needed:
            return None
        return (
            f"away for too long: it has the log up to slot {self.replica.chosen}, "
            f"the others have it from {self.images.receiving.log_begins_at} on"
        )

    def _gap_unclosed(self) -> str | None:
        """Return the gap, unless an image that closes it is on its way."""
        return None if self.images.receiving.is_under_way else self.gap()

    def uptime(self) -> float:
        """Return for how many seconds the node has been there."""
        return self.now() - self.began_at

    def serves(self) -> bool:
        """Say whether the node is, as far as it can know, in touch with a majority."""
        return self.fault() is None and self.replica.has_quorum(self.now())

    def trouble(self) -> str | None:
        """Return in one line why the node does not serve; None where it does."""
        fault = self.fault()
        if fault is not None:
            return fault
        if self.saving.is_hung:
            return f"the disk is {self.saving.describe()}"
        if self.serves():
            return None
        waits = self.admission.waits()
        if waits is not None:
            return waits
        if self.replica.is_leading:
            return "no quorum: it led, but hears of too few of the others"
        return "no quorum: this node knows of no leader, or reaches too few of the others"

    def role(self) -> str:
        """Return the node's part; one with a fault leads nobody and follows nobody."""
        role = self.replica.role
        return role if self.fault() is None or role == "observer" else "candidate"

    def leader(self) -> str | None:
        """Return whom the node takes for the leader, None where it knows of none."""
        return self.replica.leader if self.fault() is None else None

    def status(self) -> Items:
        """Return how this node is, as ``name=value``."""
        replica, store = self.replica, self.applier.store
        facts = {
            "node": self.identity.node,
            "cluster": self.identity.cluster,
            "role": self.role(),
            "leader": self.leader() or "-",
            "quorum": "yes" if self.serves() else "no",
            "rev": store.rev,
            "slot": self.applier.slot,
            "digest": store.digest,
            "sessions": len(store.timeouts_ms),
            "locks": store.lock_count,
            "watches": store.watch_count,
            "tree_nodes": store.node_count,
            "uptime": f"{self.uptime():.1f}",
            "version": coord.__version__,
            "behind": replica.target - self.applier.slot,
            "elections": replica.elections,
            "images": self.images.imaging.images,
            "image": self.images.receiving.share(),
            "disk": self.saving.describe(),
            "fault": self.fault() or self.admission.waits() or self._gap_unclosed() or "-",
        }
        return Items(store.rev, tuple(f"{name}={value}" for name, value in facts.items()))

    def members(self) -> Items:
        """Return the cluster as this node sees it: node, address, part, up or down."""
        up = self.peers.connected() | {self.identity.node}
        configuration = self.replica.configuration
        addresses = self.admission.addresses(configuration)
        rows = (
            f"{node} {addresses[node] or '-'} "
            f"{'voter' if node in configuration.voters else 'observer'} "
            f"{'up' if node in up else 'down'}"
            for node in sorted(configuration.nodes)
        )
        return Items(self.applier.store.rev, tuple(rows))

    def remarks(self, node: str) -> list[str]:
        """Return what is to be said of a member beside: that it leads, what it learns for, lags.

        How far others are behind only the leader knows.
        """
        replica = self.replica
        remarks = ["leads"] if node == replica.leader else []
        member = replica.configuration.member(node)
        if member is not None and member.wants_vote:
            place = f" in place of {member.replaces}" if member.replaces else ""
            remarks.append(f"learns, to vote{place}")
        behind = replica.chosen - replica.progress.get(node, replica.chosen)
        if behind > ALPHA:
            remarks.append(f"{behind} slots behind")
        return remarks

    def describe(self) -> str:
        """Return the node in one line."""
        return f"{self.replica.describe(self.now())} applied {self.applier.slot}"

    def open_slots(self) -> list[str]:
        """Return one line for each slot that is open here."""
        return self.replica.open_slots(self.now())

    def figures(self) -> dict[str, float]:
        """Return what can be counted, by name; totals begin at zero when the node starts."""
        replica, store, writes = self.replica, self.applier.store, self.writes
        return {
            "serving": self.serves(),
            "is_leader": self.role() == "leader",
            "revision": store.rev,
            "history_revision": store.horizon,
            "slot": self.applier.slot,
            "slots_behind": replica.target - self.applier.slot,
            "slots_open": len(self.open_slots()),
            "tree_nodes": store.node_count,
            "sessions": len(store.timeouts_ms),
            "sessions_here": len(self.sessions.keeper),
            "locks": store.lock_count,
            "watches": store.watch_count,
            "commands_waiting": writes.waiting,
            "waiting_bytes": writes.waiting_bytes,
            "disk_waits_seconds": self.saving.waits_seconds,
            "batches_in_flight": len(writes.flights),
            "reads_waiting": self.reads.weight,
            "elections": replica.elections,
            "images": self.images.imaging.images,
            "images_sent": self.images.sending.images,
            "images_adopted": self.images.receiving.images,
            "proposals": writes.batches,
            "writes": writes.written,
            "reads": self.reads.answered,
            "renews": self.sessions.renews,
            "lapses": self.sessions.lapses.lapsed,
            "digests_compared": self.digests.compared,
            "surveys": self.digests.surveys,
        }
