"""What tests of the store draw: few names, so that writes meet each other.

Lives are drawn from a seed rather than element by element: so they are long, and most of
their writes are done.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from coord.commands import Add, Delete, Set

CALM = settings(derandomize=True, deadline=None, max_examples=30)
NAMES = ("a", "a", "a", "b", "a!", "a\x01", "é")
GLOBS = ("/**", "/*", "/a", "/a/**", "/a/*", "/?", "/*/b", "/**/b", "/a/b/**", "/a*", "/b/a/?", "/")

dice = st.integers(0, 2**32).map(Random)


def a_path(dice: Random) -> str:
    """Return a path; the shorter the likelier."""
    return "/" + "/".join(dice.choices(NAMES, k=dice.choice((1, 1, 1, 2, 2, 3))))


def a_write(dice: Random) -> Set | Add | Delete:
    """Return a write; most are sets, deletes are next."""
    path, value = a_path(dice), dice.choice((b"", b"x", b"\x00\xff", b"word"))
    if_rev = dice.choice((None, None, None, 0, dice.randrange(40)))
    draw: tuple[Callable[[], Set | Add | Delete], ...] = (
        lambda: Set(path, value),
        lambda: Set(path, value, if_rev),
        lambda: Add(path, value, dice.random() < 0.7),
        lambda: Delete(path, if_rev, dice.random() < 0.5),
        lambda: Delete(path, None, True),
    )
    if dice.random() < 0.03:
        return dice.choice((Set("/ctl/a", b""), Delete("/ctl"), Delete("/", None, True)))
    return dice.choices(draw, weights=(3, 1, 2, 3, 1))[0]()


def a_back(dice: Random) -> int | None:
    """Return how far back: beyond the newest where negative, now where ``None``."""
    return dice.choice((None, None, 0, 1, 2, 3, 5, 8, -1))


def a_step(dice: Random) -> Any:
    """Return a step in a life: a write, or the name of another step and what it takes."""
    if dice.random() < 0.45:
        return a_write(dice)
    glob, back = dice.choice(GLOBS), a_back(dice)
    after, limit = dice.choice((None, None, a_path(dice))), dice.choice((None, None, 1, 3))
    draw: tuple[tuple[int, tuple[Any, ...]], ...] = (
        (8, ("turn",)),
        (4, ("get", a_path(dice), back)),
        (3, ("names", dice.choice(("/", a_path(dice))), back)),
        (4, ("walk", glob, back, after, limit)),
        (4, ("pull", dice.randrange(1, 5))),
        (2, ("drop", dice.randrange(3))),
        (3, ("watch", glob, back)),
        (5, ("take", dice.randrange(4), dice.randrange(1, 5))),
        (1, ("reload",)),
    )
    return dice.choices([one for _, one in draw], weights=[weight for weight, _ in draw])[0]
