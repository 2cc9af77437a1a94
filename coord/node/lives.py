"""A node's lives, one after the other: a new one begins once the disk that failed works again.

A node whose journal failed takes part no more, but its ports stay open and it says why. Every few
seconds it looks at the disk (`coord.journal.renewal.probe`). When that works again

1. the old journal is let go; its file is held open until the next step is done;
2. what can be read of it is verified and written into a new file, which takes its place;
3. the links to peers are let go;
4. the journal is opened as after a restart, which counts one more life, and the node assembled;
5. the old life's clients are let go, and the new one takes the ports.

The directory stays claimed all the while. Until the last step it is the old life that says what
is going on. What no disk mends by itself (a damaged file, another directory) is said, and then the
node stays as it is; so it does after a fault that is none of a disk's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from coord.frontends.console.keys import ConsoleError
from coord.journal.directory import claim
from coord.journal.errors import JournalError
from coord.journal.renewal import Renewal, probe
from coord.limits import DISK_LOOK_SECONDS, DISK_LOOK_SECONDS_MAX
from coord.node.life import Life, Premises, settle_interpreter
from coord.node.settings import Refused
from coord.peers.identity import CredentialsError

_T = TypeVar("_T")
_UNUSABLE: Final = (
    JournalError,
    CredentialsError,
    ConsoleError,
    OSError,
    sqlite3.Error,
    ValueError,
)
"""What the content of a directory, or of a disk, may lead to."""


def _may_pass(error: Exception) -> bool:
    """Say whether this is of the disk, and may be gone when it is looked at again."""
    return isinstance(error, OSError | sqlite3.OperationalError) or type(error) is JournalError


class Lives:
    """All lives of a node in this process, to be begun and ended once."""

    _log = Logger()

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._reactor = premises.reactor
        self._directory = premises.settings.data
        self._claimed: int | None = None
        self._life: Life | None = None
        self._renewal: Renewal | None = None
        self._looking: Deferred[None] | None = None
        self._pause: tuple[IDelayedCall, Deferred[None]] | None = None
        self._is_ending = False

    def begin(self) -> None:
        """Claim the directory, and begin the first life. Blocks.

        :raises Refused: where directory or disk are of no use, with why.
        """
        try:
            self._claimed = claim(self._directory)
            self._life = Life(self._premises, self._claimed)
        except BaseException as error:
            self._let_go()
            if isinstance(error, _UNUSABLE):
                raise Refused(f"{self._directory} cannot be used: {_text(error)}") from error
            raise
        settle_interpreter()
        self._life.begin(self._failed)

    async def end(self) -> None:
        """End the life that there is, and let the directory go."""
        self._is_ending = True
        if self._pause is not None:
            call, over = self._pause
            call.cancel()
            over.callback(None)
        if self._looking is not None:
            await self._looking
        if self._life is not None:
            await self._life.end()
        if self._renewal is not None:
            self._renewal.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._claimed is not None:
            os.close(self._claimed)
            self._claimed = None

    # -- after a failure ---------------------------------------------------------------------
    def _failed(self, error: Exception) -> None:
        """See to a life that its disk has ended."""
        if not _may_pass(error):
            self._say(f"journal: {error}; this node stays stopped")
            return
        self._log.warn(
            "looking at the disk every {seconds:.0f} s: once it works this node goes on by itself",
            seconds=DISK_LOOK_SECONDS,
        )
        self._looking = ensureDeferred(self._look_after(error))

    async def _look_after(self, first: Exception) -> None:
        seconds = DISK_LOOK_SECONDS
        while not self._is_ending:
            await self._wait(seconds)
            if self._is_ending:
                return
            try:
                await self._in_thread(probe, self._directory, self._claimed)
            except Exception as error:
                if not self._goes_on_after(first, error):
                    return
                continue
            try:
                if not self._is_ending:
                    await self._live_again()
                return
            except Exception as error:
                if not self._goes_on_after(first, error):
                    return
                seconds = min(2 * seconds, DISK_LOOK_SECONDS_MAX)

    def _goes_on_after(self, first: Exception, error: Exception) -> bool:
        """Say what keeps the node from coming back, and whether it is worth another look."""
        if _may_pass(error):
            self._say(f"journal: {first}; the disk, looked at again: {_text(error)}")
            return True
        if isinstance(error, _UNUSABLE):
            self._say(f"journal: {first}; this node stays stopped: {_text(error)}")
        else:
            self._log.failure("a bug: this node stays stopped; restart it, and report this")
            self._say(f"journal: {first}; then a bug: {error!r}")
        return False

    async def _live_again(self) -> None:
        """Begin a new life, on a journal that was written anew."""
        old = self._life
        assert old is not None, "it failed"
        assert self._claimed is not None, "it failed"
        if self._renewal is None:
            self._renewal = await self._in_thread(Renewal, self._directory)
        await old.journal.close()
        await self._in_thread(self._renewal.run, old.journal.acknowledged)
        self._renewal = None
        await old.part()
        if self._is_ending:
            return
        self._life = Life(self._premises, self._claimed)
        old.leave()
        old.node.replicator.store.let_go()  # connections that close may have a hold of it for long
        self._log.info("the disk works again, the journal was written anew: a new life begins")
        self._looking = None
        settle_interpreter()
        self._life.begin(self._failed)

    def _say(self, reason: str) -> None:
        assert self._life is not None
        faults = self._life.node.replicator.faults
        if faults.reason != reason:
            faults.explain(reason)
            self._log.warn("not serving: {reason}", reason=reason)

    def _wait(self, seconds: float) -> Deferred[None]:
        """Fire after so many seconds, or when the end comes."""
        over: Deferred[None] = Deferred()
        self._pause = self._reactor.callLater(seconds, self._waited), over
        return over

    def _waited(self) -> None:
        assert self._pause is not None
        (_, over), self._pause = self._pause, None
        over.callback(None)

    def _in_thread(self, do: Callable[..., _T], *what: object) -> Deferred[_T]:
        """Do something that blocks."""
        pool = self._reactor.getThreadPool()
        done: Deferred[_T] = deferToThreadPool(self._reactor, pool, do, *what)
        return done


def _text(error: BaseException) -> str:
    """Return in a few words what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
