"""Linearizability, judged by search, without a look at any revision that the store named.

For each path alone (linearizability is local: Herlihy and Wing 1990, theorem 1) we look for
an order of its operations that keeps to real time and that one register could have answered
so: the search of Wing and Gong (1993), with the memory of configurations already tried that
Lowe added (*Testing for linearizability*, 2017). Values are unique, so ``if=N`` is known by
the value that a client was told together with N.

The search is exponential at worst, so it has a bound on its steps; a path for which the
bound is reached is counted as undecided, never as right or wrong. Its twin in `revisions`
beside it decides every history, but believes the store's revisions; so each covers the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from coord.commands import Add, Delete, Get, Set
from coord.errors import Denied, Exists, NoEntry, RevisionMismatch
from coord.results import Value, Written
from coord.simulation.history import History, Operation

State: TypeAlias = bytes | None
STEPS_MAX = 200_000


class Verdict(msgspec.Struct):
    """The paths whose operations fit no register, and those that could not be decided."""

    violations: list[str]
    undecided: int = 0


def check(history: History, steps_max: int = STEPS_MAX) -> Verdict:
    """Judge every path on its own."""
    verdict = Verdict([])
    known = _values_by_rev(history)
    for path, operations in _by_path(history).items():
        outcome = search([_Call(one, known) for one in operations], steps_max)
        if outcome is None:
            verdict.undecided += 1
        elif not outcome:
            verdict.violations.append(
                f"linearizability: no order explains the {len(operations)} operations on {path}"
            )
    return verdict


def _by_path(history: History) -> dict[str, list[Operation]]:
    """Return the operations that a register can answer and whose outcome says something."""
    found: dict[str, list[Operation]] = {}
    for operation in history.operations:
        command = operation.command
        if not isinstance(command, Get | Set | Add | Delete) or operation.is_refused:
            continue
        if isinstance(command, Get):
            is_present = not command.local and command.rev is None
            if operation.is_open or not is_present:
                continue
        if isinstance(command, Add) and command.sequential:
            continue
        if isinstance(operation.outcome, Denied) or getattr(command, "tree", False):
            continue
        found.setdefault(command.path, []).append(operation)
    return found


def _values_by_rev(history: History) -> dict[int, bytes]:
    """Return the value that clients were told together with each revision."""
    known: dict[int, bytes] = {}
    for operation in history.operations:
        if isinstance(operation.outcome, Value):
            known[operation.outcome.rev] = operation.outcome.value
        elif isinstance(operation.outcome, Written) and isinstance(operation.command, Set | Add):
            known[operation.outcome.rev] = operation.command.value
    return known


class _Call:
    """One operation as a register sees it: what it does to a state, and whether it can."""

    __slots__ = ("expected", "guarded", "operation")

    def __init__(self, operation: Operation, known: dict[int, bytes]) -> None:
        self.operation = operation
        if_rev = getattr(operation.command, "if_rev", None)
        self.guarded = bool(if_rev)
        self.expected = known.get(if_rev) if if_rev else None

    def step(self, state: State) -> tuple[bool, State]:
        """Say whether the outcome is right in ``state``, and return the state after it."""
        operation = self.operation
        command, outcome = operation.command, operation.outcome
        if isinstance(command, Get):
            if isinstance(outcome, Value):
                return state == outcome.value, state
            return isinstance(outcome, NoEntry) and state is None, state
        refusal = self._refusal(state)
        after = state
        if refusal is None:
            after = None if isinstance(command, Delete) else command.value  # type: ignore[union-attr]
        if operation.is_open:
            return True, after
        if refusal is None:
            return isinstance(outcome, Written), after
        return isinstance(outcome, refusal), after

    def _refusal(self, state: State) -> type[Exception] | None:
        command = self.operation.command
        if isinstance(command, Add):
            return None if state is None else Exists
        if self.guarded:
            if state is None:
                return NoEntry
            return None if state == self.expected else RevisionMismatch
        if command.if_rev == 0 and state is not None:  # type: ignore[union-attr]
            return RevisionMismatch
        return NoEntry if isinstance(command, Delete) and state is None else None


class _Entry:
    """An invocation, or an answer (``call`` is ``None``), in a doubly linked list."""

    __slots__ = ("answer", "before", "bit", "call", "next")

    def __init__(self, call: _Call | None, bit: int) -> None:
        self.call = call
        self.bit = bit
        self.answer: _Entry | None = None
        self.before: _Entry | None = None
        self.next: _Entry | None = None


def search(calls: list[_Call], steps_max: int = STEPS_MAX) -> bool | None:
    """Return whether some order explains the calls; ``None`` where the steps ran out."""
    head = _linked(calls)
    state: State = None
    done = 0
    tried: set[tuple[int, State]] = {(0, None)}
    taken: list[tuple[_Entry, State]] = []
    entry = head.next
    for _ in range(steps_max):
        if entry is None:
            return True
        if entry.call is not None:
            right, after = entry.call.step(state)
            if right and (done | entry.bit, after) not in tried:
                tried.add((done | entry.bit, after))
                taken.append((entry, state))
                state, done = after, done | entry.bit
                _lift(entry)
                entry = head.next
            else:
                entry = entry.next
        elif not taken:
            return False
        else:  # an answer whose call fits nowhere here: take back the last choice
            entry, state = taken.pop()
            done &= ~entry.bit
            _unlift(entry)
            entry = entry.next
    return None


def _linked(calls: Iterable[_Call]) -> _Entry:
    """Return the list of invocations and answers by moment; open ones are answered last."""
    moments: list[tuple[float, int, _Entry]] = []
    for number, call in enumerate(calls):
        operation = call.operation
        invocation, answer = _Entry(call, 1 << number), _Entry(None, 1 << number)
        invocation.answer = answer
        returned = None if operation.is_open else operation.returned
        moments.append((operation.invoked, 2 * number, invocation))
        moments.append((float("inf") if returned is None else returned, 2 * number + 1, answer))
    head = last = _Entry(None, 0)
    for _moment, _number, entry in sorted(moments, key=lambda one: one[:2]):
        last.next, entry.before = entry, last
        last = entry
    return head


def _lift(entry: _Entry) -> None:
    """Take a call and its answer out of the list."""
    assert entry.answer is not None
    for one in (entry, entry.answer):
        assert one.before is not None
        one.before.next = one.next
        if one.next is not None:
            one.next.before = one.before


def _unlift(entry: _Entry) -> None:
    """Put them back, in the opposite order."""
    assert entry.answer is not None
    for one in (entry.answer, entry):
        assert one.before is not None
        one.before.next = one
        if one.next is not None:
            one.next.before = one
