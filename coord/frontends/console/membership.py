"""``member``: who the cluster's nodes are, changed by an operator.

What takes a vote for good is asked about first. A change answers when the cluster goes by it, or
says why it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs

from coord.commands import Caller, ChangeMembers, Deed
from coord.errors import BadRequest, CoordError
from coord.frontends.console.outputs import FAILED, Answer, Later, Output, Question
from coord.replicator.interfaces import ICoordinator
from coord.results import Items, Result
from coord.wire import line_members

PLAN: Final = "plan"
FORCE: Final = "force"
REALLY: Final = "really"


@attrs.frozen
class Meant:
    """What was said, and whether it is surely meant."""

    change: ChangeMembers
    is_sure: bool


def understood(words: Sequence[object]) -> Meant:
    """Return what the words ask for; raises `BadRequest`."""
    texts = [str(word) for word in words]
    is_sure = bool(texts) and texts[-1] == REALLY
    del texts[len(texts) - is_sure :]
    options = set()
    while texts and texts[0] in (PLAN, FORCE):
        options.add(texts.pop(0))
    if not texts or texts[0].lower() not in line_members.DEEDS:
        raise BadRequest("it wants one of add, remove, promote, replace")
    change = line_members.change(texts, force=FORCE in options, plan=PLAN in options)
    return Meant(change, is_sure)


def output(coordinator: ICoordinator, meant: Meant, caller: Caller) -> Output:
    """Return what comes of a change: the change itself, or a question first."""
    change = meant.change
    begin = partial(_begin, coordinator, change, caller)
    later = Later("to be told later, when the cluster goes by it", begin)
    voters = [row.split()[0] for row in coordinator.members().rows if row.split()[2] == "voter"]
    is_loss = change.deed in (Deed.REMOVE, Deed.REPLACE) and change.node in voters
    if meant.is_sure or change.plan or not is_loss:
        return later
    return Question(
        f"{change.node} {_loses(change, voters)} Do it?",
        lambda: later,
        f"Say member {_said(change)} {REALLY} to mean it.",
    )


def _loses(change: ChangeMembers, voters: Sequence[str]) -> str:
    """Return what it is to lose a vote."""
    if change.successor == change.node:
        return "loses its vote until it has learnt what the others have."
    if change.deed is Deed.REPLACE:
        return f"loses its vote for good, once {change.successor} has learnt."
    left = len(voters) - 1
    return f"loses its vote for good: of the {left} that are left {left // 2 + 1} will be needed."


def _said(change: ChangeMembers) -> str:
    return " ".join([*[FORCE] * change.force, *line_members.words_of(change)])


def _begin(
    coordinator: ICoordinator,
    change: ChangeMembers,
    caller: Caller,
    told: Callable[[Answer], None],
) -> None:
    coordinator.change_members(change, lambda result: told(_answer(change, result)), caller)


def _answer(change: ChangeMembers, result: Result) -> Answer:
    match result:
        case Items():
            return Answer(result.rows)
        case CoordError():
            return Answer([f"{result.code}: {result.text}"], FAILED)
    return Answer([_done(change)])


def _done(change: ChangeMembers) -> str:
    match change.deed:
        case Deed.REMOVE:
            return f"{change.node} is no member any more"
        case Deed.PROMOTE:
            return f"{change.node} votes"
        case Deed.ADD if change.is_observer:
            return f"{change.node} is a member; start it with --observer"
    name = change.successor or change.node
    return f"{name} is a member; started with --join it learns, and votes once it is close"
