"""A replica as a value: equal exactly if the replicas would go on alike, and a replica again.

All objects that a replica is made of are numbered in the order in which they are met; a picture is
what each of them holds, numbers in the place of references. So what is shared stays shared.

Times are kept relative to now: two lives that differ by the hour alone are the same. By the
house's rule for names a number with a fraction is a duration if its name ends in ``_seconds``,
and else a time, as are all within a collection. Entries of a dict are sorted, as no replica goes
by their order.
"""

from __future__ import annotations

from collections import deque
from types import FunctionType, MethodType
from typing import Any

import msgspec

from coord.paxos.timing import Timing

Picture = tuple[Any, ...]

STATISTICS = {("Elections", "count")}
"""What a replica counts for others and never looks at."""
DIGITS = 6


class _Reference:
    """The number of an object within a picture; there is one value for each number."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


_REFERENCES = [_Reference(index) for index in range(1000)]
_ATOMS: dict[type, bool] = dict.fromkeys(
    (bool, int, str, bytes, type(None), FunctionType, Timing), True
)
_FIELDS: dict[type, tuple[str, ...] | None] = {}


def press(root: object, now: float) -> Picture:
    """Return ``root``, whose clock shows ``now``, as a value."""
    return _Press(now).press(root)


def restore(picture: Picture, now: float) -> Any:
    """Return a new object that is as the one of the picture was, at a clock that shows ``now``."""
    made = [_blank(entry[0]) for entry in picture]
    for index, entry in enumerate(picture):
        if entry[0] is MethodType:
            made[index] = MethodType(entry[1], made[entry[2].index])
    for thing, entry in zip(made, picture, strict=True):
        _fill(thing, entry, made, now)
    return made[0]


class _Press:
    def __init__(self, now: float) -> None:
        self._now = now
        self._entries: list[Any] = []
        self._numbers: dict[int, _Reference] = {}

    def press(self, root: object) -> Picture:
        self._take(root, is_time=True)
        return tuple(self._entries)

    def _take(self, value: Any, *, is_time: bool) -> Any:
        cls = type(value)
        if cls is float:
            return round(value - self._now, DIGITS) if is_time else value
        if _ATOMS.get(cls) or _is_atom(value):
            return value
        reference = self._numbers.get(id(value))
        if reference is None:
            reference = self._numbers[id(value)] = _REFERENCES[len(self._entries)]
            self._entries.append(None)
            self._entries[reference.index] = self._entry(cls, value)
        return reference

    def _entry(self, cls: type, value: Any) -> tuple[Any, ...]:
        if cls is dict:
            pairs = sorted(value.items())
            values = [self._take(one, is_time=True) for _, one in pairs]
            return (cls, tuple(key for key, _ in pairs), *values)
        if cls is set:
            return (cls, *sorted(value))
        if cls is list or cls is deque:
            return (cls, *(self._take(one, is_time=True) for one in value))
        if cls is MethodType:
            return (cls, value.__func__, self._take(value.__self__, is_time=True))
        names = _fields(value)
        values = [
            self._take(getattr(value, name), is_time=not name.endswith("_seconds"))
            if (cls.__name__, name) not in STATISTICS
            else 0
            for name in names
        ]
        return (cls, names, *values)


def _is_atom(value: Any) -> bool:
    """Say whether a value never changes, so that it stands for itself."""
    cls = type(value)
    if cls is tuple:
        return all(_ATOMS.get(type(one)) or _is_atom(one) for one in value)
    known = _ATOMS.get(cls)
    if known is None:
        known = issubclass(cls, msgspec.Struct) and cls.__struct_config__.frozen
        _ATOMS[cls] = known
    return known


def _fields(value: Any) -> tuple[str, ...]:
    cls = type(value)
    if cls not in _FIELDS:
        slots = getattr(cls, "__struct_fields__", None) or getattr(cls, "__slots__", None)
        _FIELDS[cls] = None if slots is None else tuple(slots)
    names = _FIELDS[cls]
    return tuple(sorted(vars(value))) if names is None else names


def _blank(cls: type) -> Any:
    if cls in {dict, set, list, deque}:
        return cls()
    if cls is MethodType:
        return None
    if issubclass(cls, msgspec.Struct):
        return cls(**dict.fromkeys(cls.__struct_fields__))
    return cls.__new__(cls)


def _fill(thing: Any, entry: tuple[Any, ...], made: list[Any], now: float) -> None:
    cls = entry[0]
    if cls is dict:
        thing.update(zip(entry[1], _values(entry[2:], made, now), strict=True))
    elif cls is set:
        thing.update(entry[1:])
    elif cls is list or cls is deque:
        thing.extend(_values(entry[1:], made, now))
    elif cls is not MethodType:
        for name, value in zip(entry[1], entry[2:], strict=True):
            kind = type(value)
            if kind is _Reference:
                value = made[value.index]
            elif kind is float and not name.endswith("_seconds"):
                value += now
            setattr(thing, name, value)


def _values(values: tuple[Any, ...], made: list[Any], now: float) -> list[Any]:
    return [
        made[one.index] if type(one) is _Reference else one + now if type(one) is float else one
        for one in values
    ]
