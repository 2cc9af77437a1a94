"""A store in memory for the tests of programs that use `coord.client`.

`MemoryClient` has every method of `coord.client.Client` and gives the same results, errors and
events, by the store's own code; nothing is opened, and nothing waits: a Deferred has fired
when the call returns, and a watch is told before the write that it sees. Time is a
`twisted.internet.task.Clock` unless another is given::

    store = MemoryStore()
    client = MemoryClient(store)
    self.successResultOf(client.set("/message", b"hello"))
    seen = client.wait("/message", timeout_seconds=5)
    client.clock.advance(5)
    self.failureResultOf(seen, TimedOut)

Sessions, locks and lifetimes go by that clock as well. To advance it by more than a session's
timeout at once is what a process sees that was stopped for so long: its session is lost.

For the worse days, `MemoryClient.refuse_with` has requests fail: with `Unavailable` for a
cluster without a quorum, with `Unknown` for a write whose answer was lost; and
`MemoryStore.expire` ends a session.
"""

from __future__ import annotations

from coord.testing.client import MemoryClient
from coord.testing.store import MemoryStore

__all__ = ["MemoryClient", "MemoryStore"]
