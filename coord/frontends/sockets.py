"""What every connection of a client is set to."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ITCPTransport

from coord.limits import PROBE_SECONDS


def tune(transport: Any) -> None:
    """Have small replies leave at once, and dead clients found out."""
    if not ITCPTransport.providedBy(transport):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle: object = getattr(transport, "getHandle", lambda: None)()
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # not every system has them
        if isinstance(handle, socket.socket) and hasattr(socket, name):
            handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), PROBE_SECONDS)
