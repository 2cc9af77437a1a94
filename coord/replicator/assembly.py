"""One node put together from its journal, its links and its clocks.

Used by the program that people start and by the simulator alike, so that what is simulated
is what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime

from coord.names import valid_address
from coord.paxos.durable import Durable, Header
from coord.paxos.membership import Governs
from coord.paxos.replica import Replica
from coord.paxos.witness import Witness
from coord.replicator import imaging
from coord.replicator.coordinator import Coordinator
from coord.replicator.identity import Identity
from coord.replicator.interfaces import IJournal, IPeers, Recovered
from coord.replicator.replicator import Replicator
from coord.replicator.tuning import Tuning


@attrs.frozen(kw_only=True)
class Surroundings:
    """What a node is given: its loop, its clocks, its dice, its disk and its links.

    ``now`` counts seconds and never steps, not even while the machine sleeps; ``time_ms`` is
    the time of day. ``secrets`` returns so many bytes that nobody can guess. ``report`` keeps a
    text for a person, under a name, beside the node's state. ``settle`` is called after the node
    has gone on from an image: so much is new that lasts, and so much garbage.
    """

    reactor: IReactorTime
    now: Callable[[], float]
    time_ms: Callable[[], int]
    dice: Random
    secrets: Callable[[int], bytes]
    journal: IJournal
    peers: IPeers
    report: Callable[[str, str], None]
    settle: Callable[[], None] = lambda: None


@attrs.frozen
class Node:
    """A node that is put together but not started: start ``replicator``, ask ``coordinator``."""

    replicator: Replicator
    coordinator: Coordinator


def assemble(
    surroundings: Surroundings, recovered: Recovered, identity: Identity, tuning: Tuning
) -> Node:
    """Put a node together; the journal was recovered by the caller.

    :raises ValueError: when the image that the journal holds is damaged or of a later version.
    """
    identity = attrs.evolve(identity, disk=recovered.disk)
    loaded = imaging.load(recovered.image, tuning.history_revisions)
    applier, header = loaded.applier, recovered.durable.header
    if loaded.governs and header.chosen < applier.slot:
        # An image of another node was whole when this one crashed, and nothing was saved since.
        header = _gone_on(header, loaded.governs)
    if loaded.log_begins_at > surroundings.journal.oldest():
        surroundings.journal.trim(loaded.log_begins_at)
    durable = Durable(header, recovered.durable.votes, applier.slot)
    replica = Replica(
        identity.node,
        durable,
        tuning.timing,
        surroundings.dice,
        surroundings.now(),
        is_reachable=valid_address(identity.addresses.get(identity.node, "")),
    )
    replicator = Replicator(
        surroundings.reactor,
        identity=identity,
        replica=replica,
        applier=applier,
        log_marks=loaded.log_marks,
        journal=surroundings.journal,
        peers=surroundings.peers,
        now=surroundings.now,
        time_ms=surroundings.time_ms,
        settle=surroundings.settle,
        tuning=tuning,
        report=surroundings.report,
    )
    return Node(replicator, Coordinator(replicator, tuning.request_seconds, surroundings.secrets))


def _gone_on(header: Header, governs: tuple[Governs, ...]) -> Header:
    """Return what would have been saved with the configurations of an image."""
    witness = Witness(header.witnessed, 0.0)
    witness.forget(header.governs[-1].configuration, governs[-1].configuration)
    witness.settle(0.0)
    return msgspec.structs.replace(header, governs=governs, witnessed=witness.known)
