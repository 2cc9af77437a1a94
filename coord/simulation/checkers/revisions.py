"""Linearizability, judged by the revisions that the store names in its answers.

Each answer says something about the revision after which its operation took effect: a write
that answered ``OK 7`` is revision 7; a read that answered ``VALUE 7 x`` took effect while the
path was as revision 7 left it; a refusal took effect at a revision where it was justified.
So each operation has a set of revisions at which it may have taken effect, and the history
is linearizable exactly where one can be picked for each so that an operation which was
answered before another was invoked does not come after it. The least choice that respects
all earlier operations is as good as any, so one sweep over the moments decides it.

The order of the changes is taken from a store's own history, and compared with what the
clients saw; that the stores agree is for other judges.
"""

from __future__ import annotations

from collections.abc import Iterator

from coord.commands import Add, Delete, Get, List, Set, Stat, Sync, Walk
from coord.errors import CoordError, Denied, Exists, NoEntry, RevisionMismatch, TooLate
from coord.results import Facts, Point, Value, Written
from coord.simulation.checkers.durability import shows
from coord.simulation.history import Held, History, Names, Operation, Picture, Timeline


def check(history: History, timeline: Timeline) -> list[str]:
    """Return the operations for which there is no revision at which they can have taken effect."""
    return _Sweep(timeline).run(history) + check_order(history)


def check_order(history: History) -> list[str]:
    """Return the writes of one connection that took effect in another order than sent."""
    found: list[str] = []
    last: dict[tuple[str, int], Operation] = {}
    for operation in history.operations:
        if not isinstance(operation.outcome, Written):
            continue
        before = last.get((operation.client, operation.connection))
        if before is not None and _rev(before) >= _rev(operation):
            found.append(f"order: {before.describe()} was sent before {operation.describe()}")
        last[operation.client, operation.connection] = operation
    return found


def _rev(operation: Operation) -> int:
    assert isinstance(operation.outcome, Written)
    return operation.outcome.rev


class _Sweep:
    """Goes through the moments of a run; ``floor`` is what is certainly in the past by now."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._floor = 0
        self._floors: dict[int, int] = {}
        self._violations: list[str] = []
        self._rev_of_value = {
            event.value: event.rev for event in timeline.events if event.value is not None
        }

    def run(self, history: History) -> list[str]:
        for _moment, operations, answered in _moments(history):
            if answered:
                self._answered(operations)
            else:
                self._floors[operations[0].group] = self._floor
        for operations in history.groups():
            for operation in operations:
                if operation.is_open:
                    self._check_open(operation)
        return self._violations

    def _answered(self, operations: list[Operation]) -> None:
        """Pick a revision for each operation of a group, each no earlier than the one before."""
        floor = self._floors[operations[0].group]
        for operation in operations:
            if operation.is_open or operation.is_refused:
                continue
            if getattr(operation.command, "local", False):
                self._check_local(operation)
                continue
            if getattr(operation.command, "rev", None) is not None:
                self._check_past(operation)
                continue
            point = self.point(operation, floor)
            if point is None:
                self._violations.append(
                    f"linearizability: {operation.describe()} cannot have taken effect"
                    f" after revision {floor}"
                )
            else:
                floor = point
        self._floor = max(self._floor, floor)

    def _check_open(self, operation: Operation) -> None:
        """Hold that a write of unknown fate was not done before it was asked for."""
        value = getattr(operation.command, "value", None)
        rev = self._rev_of_value.get(value) if value is not None else None
        if rev is not None and rev <= self._floors[operation.group]:
            self._violations.append(
                f"linearizability: {operation.describe()} took effect at revision {rev},"
                " before it was invoked"
            )

    def _check_local(self, operation: Operation) -> None:
        """Hold that what a local read shows was true some time, however stale it is."""
        if not isinstance(operation.outcome, Denied) and self.point(operation, 0) is None:
            self._violations.append(f"local read: {operation.describe()} was never true")

    def _check_past(self, operation: Operation) -> None:
        """Hold that a read of a revision shows what was so after it."""
        assert isinstance(operation.command, Get)
        assert operation.command.rev is not None
        if isinstance(operation.outcome, TooLate | Denied):
            return
        held = self._timeline.held(operation.command.path, operation.command.rev)
        if not _explains(operation, held):
            self._violations.append(f"past read: {operation.describe()}, but it was {held!r}")

    def point(self, operation: Operation, floor: int) -> int | None:
        """Return the least revision from ``floor`` on at which the outcome is right."""
        outcome, command = operation.outcome, operation.command
        match outcome:
            case Written():
                return self._write_point(operation, floor)
            case Picture():
                assert isinstance(command, Walk)
                right = outcome.rev >= floor and self._is_true(operation, command, outcome)
                return outcome.rev if right else None
            case Names():
                right = outcome.rev >= floor and self._has_names(operation, outcome)
                return outcome.rev if right else None
            case Denied():
                return floor
            case NoEntry() if isinstance(command, List) or getattr(command, "tree", False):
                return self._empty_point(command.path, floor)  # type: ignore[union-attr]
            case Point():
                right = not isinstance(command, Sync) or outcome.rev >= floor
                return max(outcome.rev, floor) if right else None
            case _:
                return self._span_point(operation, floor)

    def _write_point(self, operation: Operation, floor: int) -> int | None:
        outcome, command = operation.outcome, operation.command
        assert isinstance(outcome, Written)
        assert isinstance(command, Set | Add | Delete)
        if outcome.rev <= floor or not shows(self._timeline, operation):
            return None
        if isinstance(command, Delete) and command.tree:
            return None if self._timeline.names(command.path, outcome.rev) else outcome.rev
        before = self._timeline.held(outcome.path or command.path, outcome.rev - 1)
        return outcome.rev if _allowed(operation, before) is None else None

    def _is_true(self, operation: Operation, command: Walk, picture: Picture) -> bool:
        rows = self._timeline.rows(command.glob, picture.rev)
        if operation.is_guest:  # `access` looks at what it was shown, by the rules of the moment
            return set(picture.rows) <= set(rows)
        return rows[: command.limit] == picture.rows

    def _has_names(self, operation: Operation, names: Names) -> bool:
        if not isinstance(operation.command, List):
            return True
        expected = self._timeline.names(operation.command.path, names.rev)
        return set(names.rows) <= set(expected) if operation.is_guest else names.rows == expected

    def _empty_point(self, path: str, floor: int) -> int | None:
        """Return the least revision at which there was nothing below a path."""
        revs = (event.rev for event in self._timeline.events if event.path.startswith(path + "/"))
        for rev in (floor, *(rev for rev in revs if rev > floor)):
            if not self._timeline.names(path, rev):
                return rev
        return None

    def _span_point(self, operation: Operation, floor: int) -> int | None:
        """Return the least revision at which the path was so that the outcome is right."""
        path = operation.command.path  # type: ignore[union-attr]
        for span in self._timeline.spans(path, floor):
            if _explains(operation, span.held):
                return max(span.first, floor)
        return None


def _explains(operation: Operation, held: Held) -> bool:
    """Say whether an outcome that changed nothing is right where the path holds ``held``."""
    outcome, command = operation.outcome, operation.command
    if isinstance(command, Get | Stat):
        match outcome:
            case Value():
                return held == (outcome.rev, outcome.value)
            case Facts():
                return held is not None and held[0] == outcome.rev
            case _:
                return isinstance(outcome, NoEntry) and held is None
    refusal = _allowed(operation, held)
    return refusal is not None and isinstance(outcome, refusal)


def _allowed(operation: Operation, held: Held) -> type[CoordError] | None:
    """Return the error that a write must be answered with where its path holds ``held``."""
    command = operation.command
    if isinstance(command, Add):
        return Exists if held is not None and not command.sequential else None
    assert isinstance(command, Set | Delete)
    if command.if_rev == 0 and held is not None:
        return RevisionMismatch
    if held is None:
        return NoEntry if command.if_rev or isinstance(command, Delete) else None
    return RevisionMismatch if command.if_rev and held[0] > command.if_rev else None


def _moments(history: History) -> Iterator[tuple[int, list[Operation], bool]]:
    """Return every moment at which a group was invoked or answered, in order."""
    moments: list[tuple[int, int, list[Operation], bool]] = []
    for operations in history.groups():
        first = operations[0]
        moments.append((first.invoked, first.group, operations, False))
        if first.returned is not None:
            moments.append((first.returned, first.group, operations, True))
    for moment, _group, operations, answered in sorted(moments, key=lambda one: one[:2]):
        yield moment, operations, answered
