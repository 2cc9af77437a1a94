"""What every connection of a client is set to."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.interfaces import ITCPTransport

from coord.limits import PROBE_SECONDS

_TCP_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})


def tune(transport: Any) -> None:
    """Have small replies leave at once, and dead clients found out."""
    if not ITCPTransport.providedBy(transport):
        return
    handle: object = getattr(transport, "getHandle", lambda: None)()
    if isinstance(handle, socket.socket) and handle.family not in _TCP_FAMILIES:
        return  # Twisted says of its UNIX sockets, too, that they are TCP
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # not every system has them
        if isinstance(handle, socket.socket) and hasattr(socket, name):
            handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), PROBE_SECONDS)
