"""A way through a small world as named steps: to be read, and to be gone again.

A step has a short name that says all there is to choose: ``n3:wait``, ``n2<n3:Prepare`` (n2 gets
it from n3), ``n2!n3:Prepare`` (it is lost), ``n2+n3:Prepare`` (it arrives and is still under way),
with ``#2`` behind it where two messages of that name may arrive. So a story outlives changes of
the code, as long as what it tells of can happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from coord.errors import BadRequest
from coord.paxos.effects import Chosen
from coord.simulation.exploration.lives import Life, Parcel, describe
from coord.simulation.exploration.world import FIRST, Choice, Kind, State, World

ARROWS = {Kind.TAKE: "<", Kind.LOSE: "!", Kind.REPEAT: "+"}


def named(world: World, state: State) -> dict[str, Choice]:
    """Return what may happen next, by name."""
    found: dict[str, Choice] = {}
    seen: Counter[str] = Counter()
    for choice in world.choices(state):
        if choice.kind in {Kind.WAIT, Kind.PAUSE} and world.perform(state, choice)[0] is state:
            continue
        name = _name(world, choice)
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name}#{seen[name]}"] = choice
    return found


def _name(world: World, choice: Choice) -> str:
    node = world.bounds.names[choice.node]
    if choice.kind not in ARROWS:
        return f"{node}:{choice.kind.name.lower()}"
    parcel = world.lives.parcel(choice.parcel)
    return f"{node}{ARROWS[choice.kind]}{parcel.sender}:{type(parcel.message).__name__}"


def go(world: World, names: Sequence[str]) -> Iterator[tuple[State, Choice, State, str]]:
    """Go through the steps; yield where each began, what it was, where it led, what it broke."""
    state = world.initial()
    for number, name in enumerate(names, 1):
        possible = named(world, state)
        if name not in possible:
            raise BadRequest(f"step {number}, {name}, cannot happen; {' '.join(possible)} can")
        after, flaw = world.perform(state, possible[name])
        yield state, possible[name], after, flaw
        state = after


def name_steps(world: World, states: Sequence[State]) -> list[str]:
    """Return the names of the steps that lead from each state to the next."""
    names: list[str] = []
    for state, after in pairwise(states):
        ways = named(world, state).items()
        names.append(next(name for name, one in ways if world.perform(state, one)[0] == after))
    return names


def shortened(world: World, names: Sequence[str]) -> list[str]:
    """Return what is left of a story that breaks a rule when no step more can be left out."""
    rule, steps = broken(world, names)
    at = len(steps)
    while at:
        at -= 1
        found, shorter = broken(world, steps[:at] + steps[at + 1 :])
        if found == rule:
            steps, at = shorter, min(at, len(shorter))
    return steps


def broken(world: World, names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the rule that a story breaks first, and its steps up to there; else nothing."""
    try:
        for number, (*_, flaw) in enumerate(go(world, names), 1):
            if flaw:
                return flaw.split(":")[0], list(names[:number])
    except BadRequest:
        pass
    return "", []


def tell(world: World, names: Sequence[str]) -> Iterator[str]:
    """Tell a story, a line a step, and what each step led to below it."""
    for number, (state, choice, after, flaw) in enumerate(go(world, names), 1):
        yield f"{number:>3}. {_sentence(world, state, choice)}"
        yield from (f"        {line}" for line in _consequences(world, state, choice, after))
        if flaw:
            yield f"  => {flaw}"


def _sentence(world: World, state: State, choice: Choice) -> str:
    node = world.bounds.names[choice.node]
    life = world.lives.life(state[FIRST + choice.node])
    if choice.kind in ARROWS:
        return _arrival(choice.kind, world.lives.parcel(choice.parcel))
    match choice.kind:
        case Kind.WRITE:
            return f"the disk of {node} writes {_save(life)}"
        case Kind.CRASH:
            lost = f", {len(life.pending)} saves are lost" if life.pending else ""
            return f"{node} crashes and starts again{lost}"
        case Kind.WAIT:
            return f"time passes until {node} has something to say"
        case Kind.PAUSE:
            return f"time passes for {node}, longer than any lease"
        case Kind.PROPOSE | Kind.CHANGE:
            return f"{node} proposes {describe(world.value(choice.kind, state))}"
        case Kind.ANNOUNCE:
            return f"{node} tells what is chosen"
        case _:
            return f"{node} is asked to read"


def _arrival(kind: Kind, parcel: Parcel) -> str:
    what = f"{describe(parcel.message)} from {parcel.sender}"
    if kind == Kind.LOSE:
        return f"lost on the way to {parcel.to}: {what}"
    again = ", and will once more" if kind == Kind.REPEAT else ""
    return f"{parcel.to} gets {what}{again}"


def _save(life: Life) -> str:
    save = life.pending[0]
    promised, votes = describe(save.header.promised), describe(save.votes)
    return f"promised {promised}, chosen {save.header.chosen}, votes {votes}"


def _consequences(world: World, state: State, choice: Choice, after: State) -> Iterator[str]:
    outcome = world.outcome(state, choice)
    if outcome is None:
        return
    name = world.bounds.names[choice.node]
    was = world.lives.prospect(state[FIRST + choice.node])
    now = world.lives.prospect(after[FIRST + choice.node])
    for number in outcome.sent:
        parcel = world.lives.parcel(number)
        yield f"{name} -> {parcel.to}  {describe(parcel.message)}"
    if now.is_leading != was.is_leading:
        yield f"{name} {'leads' if now.is_leading else 'leads no more'}"
    for note in outcome.notes:
        if isinstance(note, Chosen):
            yield f"{name} takes {describe(note.value)} as chosen in slot {note.slot}"
        else:
            yield f"{name} may answer read {note.number} from slot {note.slot}"
