"""One place of the tree with what is just below it, read from this node as it stands.

What is read is bounded, however large the tree: the first children by name, and of each its
facts and its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from coord.commands import Get, List, Read, Stat
from coord.errors import CoordError, NoEntry
from coord.replicator.interfaces import ICoordinator
from coord.results import Facts, Result, Rows, Value

CHILDREN_MAX: Final = 100


@attrs.frozen(kw_only=True)
class Place:
    """A node: its path, its value if it has one, how many children; ``rev`` last changed it."""

    path: str
    rev: int
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
    facts: Facts
    below: Sequence[Place]

    @property
    def left_out(self) -> int:
        """How many children are not among ``below``."""
        return self.place.children - len(self.below)


def look(coordinator: ICoordinator, path: str) -> View | CoordError:
    """Return what is at and just below a path on this node; an error where nothing is."""
    facts, value, found = _read(
        coordinator, [Stat(path, local=True), Get(path, local=True), List(path, local=True)]
    )
    if not isinstance(facts, Facts) or not isinstance(found, Rows):
        if isinstance(found, Rows):
            found.close()
        return facts if isinstance(facts, CoordError) else NoEntry(f"{path} is not there")
    names = [*islice(_names(found), CHILDREN_MAX)]
    found.close()
    start = "" if path == "/" else path
    below = _places(coordinator, [f"{start}/{name}" for name in names])
    return View(rev=found.rev, place=_place(facts, value), facts=facts, below=below)


def _names(found: Rows) -> Iterator[str]:
    return (one for one in found.rows if isinstance(one, str))


def _places(coordinator: ICoordinator, paths: Sequence[str]) -> list[Place]:
    reads: list[Read] = []
    for path in paths:
        reads += (Stat(path, local=True), Get(path, local=True))
    results = iter(_read(coordinator, reads) if reads else ())
    pairs = zip(results, results, strict=True)
    return [_place(facts, value) for facts, value in pairs if isinstance(facts, Facts)]


def _place(facts: Facts, value: Result) -> Place:
    return Place(
        path=facts.path,
        rev=facts.rev,
        value=value.value if isinstance(value, Value) else None,
        children=facts.children,
    )


def _read(coordinator: ICoordinator, reads: Sequence[Read]) -> Sequence[Result]:
    answers: list[Sequence[Result]] = []
    coordinator.submit(reads, answers.append)
    return answers[0]  # local reads are answered at once
