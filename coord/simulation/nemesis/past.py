"""The past of a cluster as its nodes tell it: events through a watch, authors through ``LOG``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from coord.client.rows import Entries
from coord.commands import Log, Watch
from coord.errors import CoordError
from coord.events import Event, Trouble
from coord.results import Entry
from coord.simulation.chronicle import Change, Chronicle, End
from coord.simulation.deeds import Ledger
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.line import dial
from coord.simulation.processes import Node, TooLong

TELL_SECONDS: Final = 60.0


class Past(Chronicle):
    """What happened in one round, made of what a node tells afterwards.

    The seconds of a change are the leader's stamp: not before whatever made the change due.

    :param after_rev: the revision before the first one of the round.
    :param markers: what the path of a session's marker begins with.
    """

    def __init__(
        self, events: Sequence[Event], entries: Sequence[Entry], after_rev: int, markers: str
    ) -> None:
        super().__init__()
        self.last_rev = events[-1].rev if events else after_rev
        known = {(entry.rev, entry.path): entry for entry in entries}
        for event in events:
            entry = known.get((event.rev, event.path))
            if entry is None:
                self.violations.append(f"log: nobody is the author of {event!r}")
                continue
            change = Change(event, entry, entry.time_ms / 1000)
            self.changes.append(change)
            self._by_rev.setdefault(event.rev, []).append(change)
            if event.path.startswith(markers) and entry.verb in ("END", "EXPIRE"):
                session = event.path.removeprefix(markers)
                self.ends[session] = End(session, event.rev, entry.verb == "EXPIRE", change.seconds)

    def told_by(self, ledger: Ledger) -> None:
        """Learn from clients of the ends of sessions without a marker, of which no log tells."""
        for life in ledger.lives.values():
            told = [one for one in life.troubles if one[2].kind is Trouble.EXPIRED]
            told_at = [at for at, _, _ in told]
            told_at += [
                deed.told_at
                for deed in ledger.deeds
                if deed.session == life.session and isinstance(deed.outcome, CoordError)
                if deed.outcome.code in ("SESSION_EXPIRED", "NO_SESSION") and deed.told_at
            ]
            marked = any(change.event.path.endswith(f".{life.session}") for change in self.changes)
            if told_at and not marked and life.session not in self.ends:
                ended = End(life.session, self.last_rev, life.ended_at is None, min(told_at))
                self.ends[life.session] = ended


async def events_of(field: Field, node: Node, after_rev: int, last: bytes) -> list[Event]:
    """Return all events after a revision, until one sets the value ``last``; raises `TooLong`."""
    found: list[Event] = []
    gone: list[Any] = []

    def told(outcome: Any) -> None:
        if isinstance(outcome, Event):
            found.append(outcome)
        elif outcome is None or isinstance(outcome, CoordError):
            gone.append(outcome)

    line = await dial(field.reactor, node.line_port, lambda _: None, gone.append)
    try:
        line.watch(Watch("/**", after_rev), told)
        await field.eventually(
            lambda: bool(gone) or any(event.value == last for event in found[-1:]),
            f"{node.name} tells what happened",
            TELL_SECONDS,
        )
    finally:
        line.hang_up()
    if gone and not (found and found[-1].value == last):
        raise TooLong(f"{node.name} did not tell what happened, but {gone[0]!r}")
    return found


async def entries_of(field: Field, node: Node, after_rev: int) -> list[Entry]:
    """Return what ``LOG`` tells of a round; raises `TooLong`."""
    told = await field.insist(node, Log("/**"))
    if not isinstance(told, Entries):
        raise TooLong(f"{node.name} answered LOG with {told!r}")
    return [entry for entry in told.entries if entry.rev > after_rev]
