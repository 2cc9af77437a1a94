"""The client: what applications import.

::

    from coord.client import Client

    client = Client(reactor, ["10.0.0.1:8046", "10.0.0.2:8046", "10.0.0.3:8046"])
    written = await client.set("/message", b"hello, world")
    value = await client.get("/message")
    async for event in client.watch("/services/**", after_rev=written.rev):
        ...

Sessions, locks and transactions::

    session = client.session(timeout_seconds=10)
    lock = await client.lock("/leader", b"host-7", wait_seconds=None)
    lock.lost().addCallback(stop_at_once)
    await client.transaction().check("/leader", token=lock.token).set("/jobs/last", b"7").commit()
    await lock.release()

How it is built, from the bottom up: `requests` and `replies` turn values into bytes and back;
`exchange` is one request and what its replies come to; `conversation` is one connection without
the connection; `link` puts it on a transport; `dialler` decides whom to dial and when;
`following` is a watch, and `life` and `session` are a session, that outlive their servers; `ids`
lets writes be sent again and be done once; `outstanding` has the queue of requests, each one
`pending`, and decides what becomes of those that a server took with it; and `client` wires them
together. Errors that a server says are in `coord.errors`.
"""

from __future__ import annotations

from coord.client.client import REQUEST_SECONDS, Client
from coord.client.clocks import steady
from coord.client.errors import Closed, NoServer
from coord.client.lock import Lock
from coord.client.requests import exactly
from coord.client.rows import Difference, Entries, Member, Names, Page
from coord.client.session import Session
from coord.client.tls import Tls
from coord.client.transaction import Transaction
from coord.client.verbs import Verbs
from coord.client.watch import Watch

__all__ = [
    "REQUEST_SECONDS",
    "Client",
    "Closed",
    "Difference",
    "Entries",
    "Lock",
    "Member",
    "Names",
    "NoServer",
    "Page",
    "Session",
    "Tls",
    "Transaction",
    "Verbs",
    "Watch",
    "exactly",
    "steady",
]
