"""All judges over one round: the simulator's own, on what was seen from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coord.commands import Lock
from coord.events import Event
from coord.results import Granted
from coord.simulation.checkers import (
    at_most_once,
    beliefs,
    durability,
    ephemeral,
    linearizability,
    locks,
    once,
    revisions,
    sessions,
    transactions,
    watches,
)
from coord.simulation.deeds import Ledger
from coord.simulation.nemesis.past import Past
from coord.simulation.nemesis.record import Record
from coord.simulation.tally import tally


def judge(record: Record, past: Past) -> list[str]:
    """Return everything that anybody finds wrong with a round."""
    past.told_by(record.ledger)
    timeline = past.timeline()
    verdict = linearizability.check(record.history)
    record.count("keys undecided", verdict.undecided)
    record.counts += tally(past, record.ledger)
    ledger, operations = record.ledger, record.history.operations
    return [
        *record.violations,
        *past.violations,
        *verdict.violations,
        *durability.check(operations, {"the cluster": timeline}),
        *at_most_once.check(operations, timeline),
        *revisions.check(record.history, timeline),
        *sessions.check(past, ledger),
        *locks.check(past, ledger),
        *beliefs.check(ledger),
        *ephemeral.check(past, ledger),
        *transactions.check(past, ledger),
        *once.check(past, ledger),
        *tokens(ledger),
        *(line for one in record.watched for line in watches.check(one, timeline)),
    ]


def tokens(ledger: Ledger) -> Iterator[str]:
    """Yield the tokens that are not greater than what was known of their lock before.

    A lock that is asked for again by the session which holds it is answered with the same one.
    """
    told = [
        (deed.told, deed.write.path, deed.outcome.token, deed)
        for deed in ledger.deeds
        if deed.told is not None
        and isinstance(deed.write, Lock)
        and isinstance(deed.outcome, Granted)
    ]
    for moment, path, token, deed in told:
        before = [one for one in told if one[1] == path and one[0] < deed.asked]
        least = max((one[2] for one in before), default=0)
        again = any(one[2] == token and one[3].session == deed.session for one in before)
        if token <= least and not again:
            yield f"tokens: {token} was given at moment {moment} after {least}: {deed.describe()}"


def differing(told: Mapping[str, Sequence[Event]]) -> list[str]:
    """Return the nodes that tell another past than the first one does."""
    (first, wanted), *others = told.items()
    return [
        f"digests: {name} tells another past than {first}: {_difference(wanted, events)}"
        for name, events in others
        if list(events) != list(wanted)
    ]


def _difference(wanted: Sequence[Event], events: Sequence[Event]) -> str:
    """Return the first place where two pasts part."""
    for one, other in zip(wanted, events, strict=False):
        if one != other:
            return f"{other!r}, not {one!r}"
    return f"{len(events)} events, not {len(wanted)}"
