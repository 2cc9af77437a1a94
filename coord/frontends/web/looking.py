"""One place of the tree with what is just below it, read from this node as it stands.

What is read is bounded, however large the tree: the first children by name, and of each its
facts and its value. It is read for a caller, like everything: of a place that leads to what the
caller may read, but may not be read itself, there is the name and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from coord.commands import Caller, Get, List, Read, Stat
from coord.errors import CoordError, NoEntry
from coord.replicator.interfaces import ICoordinator
from coord.results import Facts, Result, Rows, Value

CHILDREN_MAX: Final = 100


@attrs.frozen(kw_only=True)
class Place:
    """A node: its path, its value if it has one, how many children; ``rev`` last changed it.

    Without a ``rev`` the caller may know that it is there, and no more.
    """

    path: str
    rev: int | None
    value: bytes | None
    children: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@attrs.frozen(kw_only=True)
class View:
    """A place and the first of those just below it, all at revision ``rev``."""

    rev: int
    place: Place
    created: int | None
    below: Sequence[Place]

    @property
    def left_out(self) -> int:
        """How many children are not among ``below``."""
        return self.place.children - len(self.below)


def look(coordinator: ICoordinator, path: str, caller: Caller) -> View | CoordError:
    """Return what is at and just below a path on this node; an error where nothing is."""
    reads: list[Read] = [Stat(path, local=True), Get(path, local=True), List(path, local=True)]
    facts, value, found = _read(coordinator, reads, caller)
    if not isinstance(found, Rows):
        return _error(path, facts, found)
    names = [*islice(_names(found), CHILDREN_MAX)]
    found.close()
    if not isinstance(facts, Facts) and not names:
        return _error(path, facts, found)
    start = "" if path == "/" else path
    below = _places(coordinator, [f"{start}/{name}" for name in names], caller)
    created = facts.created if isinstance(facts, Facts) else None
    return View(rev=found.rev, place=_place(path, facts, value), created=created, below=below)


def _error(path: str, *results: Result) -> CoordError:
    """Return the first error, which is why there is nothing to see."""
    errors = [one for one in results if isinstance(one, CoordError)]
    return errors[0] if errors else NoEntry(f"{path} is not there")


def _names(found: Rows) -> Iterator[str]:
    return (one for one in found.rows if isinstance(one, str))


def _places(coordinator: ICoordinator, paths: Sequence[str], caller: Caller) -> list[Place]:
    reads: list[Read] = []
    for path in paths:
        reads += (Stat(path, local=True), Get(path, local=True))
    results = iter(_read(coordinator, reads, caller) if reads else ())
    pairs = zip(results, results, strict=True)
    return [_place(path, *pair) for path, pair in zip(paths, pairs, strict=True)]


def _place(path: str, facts: Result, value: Result) -> Place:
    return Place(
        path=path,
        rev=facts.rev if isinstance(facts, Facts) else None,
        value=value.value if isinstance(value, Value) else None,
        children=facts.children if isinstance(facts, Facts) else 0,
    )


def _read(coordinator: ICoordinator, reads: Sequence[Read], caller: Caller) -> Sequence[Result]:
    answers: list[Sequence[Result]] = []
    coordinator.submit(reads, answers.append, caller)
    return answers[0]  # local reads are answered at once
