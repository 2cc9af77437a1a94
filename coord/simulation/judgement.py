"""All judges, one after the other, over one run that has come to rest."""

from __future__ import annotations

from coord.simulation.checkers import (
    access,
    at_most_once,
    beliefs,
    durability,
    ephemeral,
    lifetimes,
    linearizability,
    locks,
    logs,
    members,
    once,
    revisions,
    sessions,
    transactions,
    watches,
)
from coord.simulation.checkers.linearizability import Verdict
from coord.simulation.checkers.watches import Watched
from coord.simulation.cluster import Cluster
from coord.simulation.deeds import Ledger
from coord.simulation.history import History
from coord.simulation.tally import changes, tally


def judge(
    cluster: Cluster,
    history: History,
    ledger: Ledger,
    watched: list[Watched],
    spied: list[Watched],
) -> Verdict:
    """Return everything that anybody finds wrong.

    :param spied: what a watcher saw whom the rules of access concern.
    """
    chronicle = cluster.chronicle
    timeline = chronicle.timeline()
    timelines = dict.fromkeys(cluster.names, timeline)
    operations = history.operations
    machines = {**cluster.nodes, **cluster.former}
    cluster.world.count("operations", len(operations) + len(ledger.deeds))
    cluster.world.count("revisions", timeline.last_rev)
    counted = tally(chronicle, ledger) + changes(cluster.governs())
    for what, number in counted.items():
        cluster.world.count(what, number)
    verdict = linearizability.check(history)
    verdict.violations += [
        *chronicle.violations,
        *_differences(cluster),
        *members.check(cluster),
        *durability.check(operations, timelines),
        *at_most_once.check(operations, timeline),
        *revisions.check(history, timeline),
        *access.check(operations, timeline),
        *(line for one in spied for line in access.check_watch(one, timeline)),
        *logs.check(operations, chronicle, cluster.options.history_revisions),
        *logs.check_blame(ledger.deeds, chronicle),
        *sessions.check(chronicle, ledger),
        *sessions.untold(chronicle, ledger),
        *sessions.unwarned(
            chronicle, ledger, {name: node.disturbed_at for name, node in machines.items()}
        ),
        *locks.check(chronicle, ledger),
        *beliefs.check(ledger),
        *ephemeral.check(chronicle, ledger),
        *lifetimes.check(chronicle, ledger),
        *transactions.check(chronicle, ledger),
        *once.check(chronicle, ledger),
        *(line for one in watched for line in watches.check(one, timeline)),
    ]
    return verdict


def left_over(cluster: Cluster) -> list[str]:
    """Return what some node still has of clients that were silent for long enough."""
    found = []
    for node in cluster.members():
        store = node.store
        found += sessions.left_over([one.session for one in store.sessions()], "session")
        found += sessions.left_over([one.path for one in store.locks()], "lock")
        found += sessions.left_over([repr(one) for one in store.spans()], "span")
    return found


def _differences(cluster: Cluster) -> list[str]:
    """Return the nodes whose kept history is not what was written down as it happened."""
    happened = cluster.chronicle.timeline().events
    found = []
    for node in cluster.members():
        kept = node.timeline().events
        if kept != tuple(event for event in happened if event.rev > node.store.horizon):
            found.append(f"digests: the history of {node.name} is not what happened")
    return found
