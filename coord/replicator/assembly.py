"""One node put together from its journal, its links and its clocks.

Used by the program that people start and by the simulator alike, so that what is simulated
is what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
from twisted.internet.interfaces import IReactorTime

from coord.paxos.durable import Durable
from coord.paxos.replica import Replica
from coord.replicator import imaging
from coord.replicator.account import Identity
from coord.replicator.coordinator import Coordinator
from coord.replicator.interfaces import IJournal, IPeers, Recovered
from coord.replicator.replicator import Replicator, Tuning


@attrs.frozen(kw_only=True)
class Surroundings:
    """What a node is given: its loop, its clocks, its dice, its disk and its links.

    ``now`` counts seconds and never steps, not even while the machine sleeps; ``time_ms`` is
    the time of day. ``secrets`` returns so many bytes that nobody can guess. ``report`` keeps a
    text for a person, under a name, beside the node's state.
    """

    reactor: IReactorTime
    now: Callable[[], float]
    time_ms: Callable[[], int]
    dice: Random
    secrets: Callable[[int], bytes]
    journal: IJournal
    peers: IPeers
    report: Callable[[str, str], None]


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
    applier, log_marks = imaging.load(recovered.image, tuning.history_revisions)
    durable = Durable(recovered.durable.header, recovered.durable.votes, applier.slot)
    replica = Replica(identity.node, durable, tuning.timing, surroundings.dice, surroundings.now())
    replicator = Replicator(
        surroundings.reactor,
        identity=identity,
        replica=replica,
        applier=applier,
        log_marks=log_marks,
        journal=surroundings.journal,
        peers=surroundings.peers,
        now=surroundings.now,
        time_ms=surroundings.time_ms,
        tuning=tuning,
        report=surroundings.report,
    )
    return Node(replicator, Coordinator(replicator, tuning.request_seconds, surroundings.secrets))
