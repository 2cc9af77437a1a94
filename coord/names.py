"""Names of nodes and their addresses: what may be one, wherever it is written.

They stand in certificates, in settings, in requests and in configurations; this is the one place
that says how they look.
"""

from __future__ import annotations

import re
from typing import Final

NODE_NAME_LENGTH_MAX: Final = 63
"""Longest name of a node: that of a label in DNS."""

_NODE: Final = re.compile(r"(?![0-9]+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")


def valid_node_name(name: str) -> bool:
    """Say whether a node may be called so: 1 to 63 of ``a-z``, ``0-9`` and ``-``.

    As in DNS, neither end is a hyphen; digits alone would be taken for an address.
    """
    return _NODE.fullmatch(name) is not None


def valid_address(address: str) -> bool:
    """Say whether a node may be reached there: ``HOST:PORT``, IPv6 in brackets, a port from 1."""
    found = _ADDRESS.fullmatch(address)
    return found is not None and 0 < int(found[1]) < 1 << 16


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, the brackets of IPv6 taken off."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
