"""Why a node takes part no more: its disk failed, an invariant did not hold, it was removed.

A node with a fault leads nobody and follows nobody, acknowledges nothing, and answers what waits.
It will hear of nothing that happens, so nobody watches here any more.
As long as its store is what the log led to it may still be read as it stands (``local``); after
a bug it is not to be believed either. The first reason is the one that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from coord.errors import Unavailable
from coord.replicator.digests import DivergedError
from coord.replicator.identity import Identity
from coord.replicator.queues import SetBackError


class Faults:
    """What stops a node: ``reason`` is None as long as it takes part.

    :param report: keeps a text for a person, under a name, where the node's state is.
    :param testimony: returns the lines of what is known of a store that differs.
    :param leave: has the loop take part no more, and say so to those who wait; called whenever
        there is a reason.
    """

    _log = Logger()

    def __init__(
        self,
        identity: Identity,
        *,
        report: Callable[[str, str], None],
        testimony: Callable[[DivergedError, str], Iterable[str]],
        leave: Callable[[Unavailable], None],
    ) -> None:
        self._identity = identity
        self._report = report
        self._testimony = testimony
        self._leave = leave
        self._is_broken = False
        self.reason: str | None = None
        self.disk_failed: Callable[[Exception], None] = lambda _: None
        """Who hears that a disk has stopped the node, and nothing before that did."""

    def guard(self, do: Callable[..., None], *what: object) -> None:
        """Do one thing, unless this node serves no more; a bug in it ends the serving."""
        if self.reason is None:
            try:
                do(*what)
            except Exception as error:
                self._break(error)

    def withdraw(self, reason: str) -> None:
        """Take part no more, and answer what waits."""
        self.reason = self.reason or " ".join(reason.split())
        self._leave(_refusal(self.reason))

    def of_disk(self, error: Exception) -> None:
        """Take part no more: the disk failed. Who looks after disks hears of it."""
        is_first = self.reason is None
        self.withdraw(f"journal: {error}")
        if is_first:
            self.disk_failed(error)

    def explain(self, reason: str) -> None:
        """Say better, or newer, why this node takes part no more."""
        assert self.reason is not None, "it takes part"
        self.reason = " ".join(reason.split())

    def keep(self, name: str, text: str) -> None:
        """Keep a text for a person; that it cannot be kept stops nothing."""
        try:
            self._report(name, text)
        except Exception:
            self._log.failure("what was found could not be kept")

    def refusal(self) -> Unavailable | None:
        """Return what a node that takes part no more says to those who ask; None where it does."""
        return None if self.reason is None else _refusal(self.reason)

    def trust(self) -> None:
        """Raise `Unavailable` where the store as it stands is not to be believed."""
        refusal = self.refusal() if self._is_broken else None
        if refusal is not None:
            raise refusal

    def _break(self, error: Exception) -> None:
        """Stop serving rather than answer wrongly: an invariant has turned out not to hold."""
        self._is_broken = True
        if isinstance(error, SetBackError | DivergedError):
            self._log.critical("this node stops serving: {error}", error=error)
            self.withdraw(str(error))
        else:
            self._log.failure("a bug: this node stops serving; restart it, and report this")
            self.withdraw(f"bug: {error!r}")
        if isinstance(error, DivergedError):
            self._testify(error)

    def _testify(self, error: DivergedError) -> None:
        """Keep what is needed to find out why this node's store differs."""
        who = f"node {self._identity.node} of {self._identity.cluster}"
        life = f"life {self._identity.incarnation}"
        lines = self._testimony(error, f"{who}, {life}")
        self.keep(error.report, "\n".join(lines) + "\n")


def _refusal(reason: str) -> Unavailable:
    return Unavailable(f"not done: this node has stopped serving: {reason}")
