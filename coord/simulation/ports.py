"""Free ports of loopback for processes that are started, killed, and started again."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from typing import Final

HOST: Final = "127.0.0.1"
PORTS: Final = (10_000, 32_000)
PARTS: Final = 8
_DICE = random.SystemRandom()
_CHOSEN: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has at this moment."""
    return [block[0] for block in _blocks(count, (0,))]


def free_base(offsets: Sequence[int]) -> int:
    """Return a port from which those at all ``offsets`` are free."""
    return _blocks(1, offsets)[0][0]


def _blocks(count: int, offsets: Sequence[int]) -> list[list[int]]:
    """Return free ports, chosen below those that the kernel gives to outgoing connections.

    One of the kernel's own could be given away while a node that listened there is down. None is
    chosen twice, as it may not be taken yet; and processes that run tests side by side, whose
    numbers follow each other, choose in parts of their own.
    """
    width = (PORTS[1] - PORTS[0]) // PARTS
    first = PORTS[0] + os.getpid() % PARTS * width
    found: list[list[int]] = []
    while len(found) < count:
        base = _DICE.randrange(first, first + width)
        block = [base + offset for offset in offsets]
        if _CHOSEN.isdisjoint(block) and all(map(_is_free, block)):
            _CHOSEN.update(block)
            found.append(block)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
