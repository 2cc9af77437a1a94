"""What follows ``MEMBER`` and its options: what is to become of which node, and where it is.

Both ways: a server reads these words, a client writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from coord.commands import ChangeMembers, Deed
from coord.errors import BadRequest
from coord.names import NODE_NAME_LENGTH_MAX, valid_address, valid_node_name

DEEDS: Final = frozenset(deed.value for deed in Deed)
OBSERVER: Final = "observer"
_FORMS: Final = {
    Deed.ADD: f"NAME HOST:PORT [{OBSERVER}]",
    Deed.REMOVE: "NAME",
    Deed.PROMOTE: "NAME",
    Deed.REPLACE: "OLD NEW HOST:PORT",
}
_SHOWN: Final = 80


def change(words: Sequence[str], *, force: bool = False, plan: bool = False) -> ChangeMembers:
    """Return what the words ask for, of which the first is one of `DEEDS`, in any case.

    :raises BadRequest: where one is missing, is too much, or is no name or address.
    """
    deed, operands = Deed(words[0].lower()), list(words[1:])
    is_observer = deed is Deed.ADD and len(operands) == 3 and operands.pop().lower() == OBSERVER
    wanted = {Deed.ADD: 2, Deed.REPLACE: 3}.get(deed, 1)
    if len(operands) != wanted or len(words) != 1 + wanted + is_observer:
        _refuse(f"member {deed.value} wants {_FORMS[deed]}")
    successor, address = "", ""
    if deed is Deed.REPLACE:
        successor = _name(operands[1])
    if wanted > 1:
        address = _address(operands[-1])
    return ChangeMembers(
        deed, _name(operands[0]), address, successor, is_observer, force=force, plan=plan
    )


def words_of(asked: ChangeMembers) -> Sequence[str]:
    """Return the words that ask for a change, behind ``MEMBER`` and its options.

    :raises BadRequest: where no server would understand them.
    """
    words = [asked.deed.value, asked.node]
    if asked.deed is Deed.REPLACE:
        words.append(asked.successor)
    if asked.deed in (Deed.ADD, Deed.REPLACE):
        words.append(asked.address)
    if asked.is_observer:
        words.append(OBSERVER)
    if change(words, force=asked.force, plan=asked.plan) != asked:
        _refuse(f"member {asked.deed.value} takes {_FORMS[asked.deed]} and nothing more")
    return words


def _name(text: str) -> str:
    if not valid_node_name(text):
        _refuse(
            f"{_shown(text)} is no name for a node: take up to {NODE_NAME_LENGTH_MAX} of"
            " a-z, 0-9 and -, no - at either end, and not only digits"
        )
    return text


def _address(text: str) -> str:
    if not valid_address(text):
        _refuse(f"{_shown(text)} is not HOST:PORT, such as 10.0.0.4:8076")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _refuse(text: str) -> NoReturn:
    raise BadRequest(text)
