"""One object for all changes that are alike in who made them and how.

A mark is a part of every version kept, so that millions of them must not each have one of its own.
What is kept here is a memory of such objects and nothing more: where one is forgotten, an equal
one is made.
"""

from __future__ import annotations

from typing import Final

from coord.commands import CLUSTER, Caller
from coord.store.tree import Mark

_AUTHORS_MAX: Final = 4096


class Marks:
    """The marks of those who write at present."""

    __slots__ = ("_authors", "_caller", "_verbs")

    def __init__(self) -> None:
        self._authors: dict[str, dict[str, Mark]] = {}
        self._caller = CLUSTER
        self._verbs: dict[str, Mark] = {}

    def of(self, caller: Caller, verb: str) -> Mark:
        """Return the mark of what ``caller`` does by ``verb``."""
        if caller is not self._caller:
            self._caller = caller
            self._verbs = self._verbs_of(caller.author())
        mark = self._verbs.get(verb)
        if mark is None:
            mark = self._verbs[verb] = Mark(self._caller.author(), verb)
        return mark

    def by(self, author: str, verb: str) -> Mark:
        """Return the mark of what ``author`` does by ``verb``."""
        verbs = self._verbs_of(author)
        mark = verbs.get(verb)
        if mark is None:
            mark = verbs[verb] = Mark(author, verb)
        return mark

    def same(self, mark: Mark) -> Mark:
        """Return the one object for a mark that came with an image."""
        return self._verbs_of(mark.author).setdefault(mark.verb, mark)

    def _verbs_of(self, author: str) -> dict[str, Mark]:
        verbs = self._authors.get(author)
        if verbs is None:
            if len(self._authors) >= _AUTHORS_MAX:
                self._authors.clear()
            verbs = self._authors[author] = {}
        return verbs
