"""The client: what applications import.

::

    from coord.client import Client

    client = Client(reactor, ["10.0.0.1:8046", "10.0.0.2:8046", "10.0.0.3:8046"])
    written = await client.set("/message", b"hello, world")
    value = await client.get("/message")
    async for event in client.watch("/services/**", after_rev=written.rev):
        ...

How it is built, from the bottom up: `requests` and `replies` turn values into bytes and back;
`conversation` is one connection without the connection; `link` puts it on a transport;
`dialler` decides whom to dial and when; `following` is a watch that outlives its servers; and
`client` has the queue of requests and decides what becomes of those that a server took
with it. Errors that a server says are in `coord.errors`.
"""

from __future__ import annotations

from coord.client.client import REQUEST_SECONDS, Client
from coord.client.errors import Closed, NoServer
from coord.client.requests import exactly
from coord.client.rows import Member, Names, Page
from coord.client.verbs import Verbs
from coord.client.watch import Watch

__all__ = [
    "REQUEST_SECONDS",
    "Client",
    "Closed",
    "Member",
    "Names",
    "NoServer",
    "Page",
    "Verbs",
    "Watch",
    "exactly",
]
