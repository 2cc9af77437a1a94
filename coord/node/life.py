"""The one place where all names meet: a life of a node, from an opened journal to a closed one.

A process has one such life after the other where its disk fails and comes back
(`coord.node.lives`). What lasts for all of them is in `Premises`: ports, keys, settings.
"""

from __future__ import annotations

import gc
import random
import resource
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from coord.frontends.access import Gate
from coord.frontends.console.keys import KeyFile, load_host_key
from coord.frontends.console.server import ConsoleFactory
from coord.frontends.console.words import Subjects
from coord.frontends.line import LineFactory
from coord.frontends.web.site import StatusSite
from coord.frontends.web.subjects import Subjects as Shown
from coord.journal.sqlite import Journal, open_journal
from coord.node.doors import Door
from coord.node.settings import Settings
from coord.paxos.membership import Configuration, Governs
from coord.paxos.timing import Timing
from coord.peers.identity import Credentials
from coord.peers.transport import Transport
from coord.replicator.assembly import Node, Surroundings, assemble
from coord.replicator.digests import REPORTS
from coord.replicator.identity import Identity
from coord.replicator.tuning import Tuning

STOP_SECONDS_MAX: Final = 5.0
"""How long links, clients, and the disk may take to let go before the end comes anyway."""
FILES_BESIDE: Final = 256
"""Files kept for all that is not a client: peers, browsers, the journal."""
SWITCH_SECONDS: Final = 0.0001
"""How long one thread may keep another waiting for the interpreter."""
GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Young objects before a collection, and how often the older ones are looked at. What was
loaded is frozen, so no collection ever walks the store as it was at the start."""


@attrs.frozen(kw_only=True)
class Premises:
    """What all lives of a node have in common."""

    reactor: Any
    settings: Settings
    credentials: Credentials | None
    key_files: list[KeyFile]
    gate: Gate
    line_doors: list[Door]
    web_door: Door | None
    console_door: Door | None
    peer_door: Door | None


class Life:
    """One life. Making it opens the journal and loads the store, which blocks.

    Raises whatever the content of a directory, or of a disk, may lead to; nothing is left open
    then.
    """

    _log = Logger()

    def __init__(self, premises: Premises, claimed: int) -> None:
        self._premises = premises
        self._reactor = premises.reactor
        self._settings = settings = premises.settings
        self._lines: LineFactory | None = None
        self._console: ConsoleFactory | None = None
        self._site: StatusSite | None = None
        self._has_parted = False
        self.journal = open_journal(
            self._reactor,
            settings.data,
            node=settings.node,
            cluster=settings.cluster,
            initial=(Governs(0, _first(settings)),),
            claimed=claimed,
        )
        try:
            self._put_together(self.journal)
        except BaseException:
            self.journal.close()  # or its thread would keep the process
            raise

    def _put_together(self, journal: Journal) -> None:
        settings = self._settings
        recovered = journal.recover()
        self._host_key: Key | None = None
        if self._premises.console_door is not None:
            self._host_key = load_host_key(settings.data)
        addresses = dict(settings.peers)
        self.transport = Transport(
            self._reactor,
            node=settings.node,
            cluster=settings.cluster,
            incarnation=recovered.incarnation,
            peers={name: where for name, where in addresses.items() if name != settings.node},
            listen=self._premises.peer_door,
            credentials=self._premises.credentials,
            dice=random.Random(),
        )
        identity = Identity(
            node=settings.node,
            cluster=settings.cluster,
            incarnation=recovered.incarnation,
            addresses=addresses,
            is_joining=settings.is_joining,
            is_observer=settings.observer,
        )
        surroundings = Surroundings(
            reactor=self._reactor,
            now=_now,
            time_ms=_time_ms,
            dice=random.Random(),
            secrets=secrets.token_bytes,
            journal=journal,
            peers=self.transport,
            report=self._keep_report,
            settle=settle_interpreter,
        )
        self.node: Node = assemble(surroundings, recovered, identity, _tuning(settings))

    def _keep_report(self, name: str, text: str) -> None:
        """Keep a text for a person beside the journal, and say where."""
        path = self._settings.data / name
        path.write_text(text, "utf-8")
        self._log.critical("what is known of it is in {path}", path=str(path))

    # -- beginning -------------------------------------------------------------------------
    def begin(self, disk_failed: Callable[[Exception], None]) -> None:
        """Take part, and let everyone in. ``disk_failed`` hears of a disk that ends it."""
        self.node.replicator.faults.disk_failed = disk_failed
        self.transport.start().addErrback(
            lambda failure: self._log.failure("peers cannot reach this node", failure)
        )
        self.node.replicator.start()
        self._lines = LineFactory(
            self._reactor,
            self.node.coordinator,
            gate=self._premises.gate,
            line_bytes_max=self._settings.line_bytes_max,
            value_bytes_max=self._settings.value_bytes_max,
            connections_max=_room_for(self._settings.connections_max),
        )
        for door in self._premises.line_doors:
            door.listen(self._lines)
        if self._premises.web_door is not None:
            self._open_web(self._premises.web_door, self._lines)
        if self._premises.console_door is not None:
            self._open_console(self._premises.console_door, self._lines)
        self._say_so()

    def _say_so(self) -> None:
        self._log.info(
            "node {node} of {cluster}, state in {data}, clients at {listen}; {access}",
            node=self._settings.node,
            cluster=self._settings.cluster,
            data=str(self._settings.data),
            listen=" ".join(self._settings.listen),
            access=self._premises.gate.describe(),
        )
        for path in sorted(self._settings.data.glob(REPORTS)):
            self._log.warn(
                "an earlier life of this node stopped because its store differed from the others':"
                " see {path}, and take it away once that is dealt with",
                path=str(path),
            )

    def _open_web(self, door: Door, lines: LineFactory) -> None:
        shown = Shown(
            account=self.node.replicator.account,
            coordinator=self.node.coordinator,
            transport=self.transport,
            clients=lines,
            strangers=self._premises.gate,
        )
        self._site = StatusSite(self._reactor, shown)
        door.listen(self._site)

    def _open_console(self, door: Door, lines: LineFactory) -> None:
        subjects = Subjects(
            replicator=self.node.replicator,
            coordinator=self.node.coordinator,
            transport=self.transport,
            journal=self.journal,
            lines=lines,
        )
        assert self._host_key is not None
        files = self._premises.key_files
        self._console = ConsoleFactory(self._reactor, subjects, self._host_key, files)
        door.listen(self._console)

    # -- the end -----------------------------------------------------------------------------
    async def end(self) -> None:
        """Answer what waits, let everyone go, close the journal."""
        self.leave()
        await self.part()
        await self._in_time(self.journal.close(), "the journal")

    def leave(self) -> None:
        """Answer what waits, and let clients and visitors go."""
        self.node.replicator.stop()
        for face in (self._lines, self._console, self._site):
            if face is not None:
                face.close_all()

    async def part(self) -> None:
        """Let the peers go."""
        if not self._has_parted:
            self._has_parted = True
            await self._in_time(self.transport.stop(), "links to peers")

    async def _in_time(self, ending: Deferred[None], what: str) -> None:
        """Wait for an end, but not for ever: the other side may be gone without a word."""
        ending.addTimeout(STOP_SECONDS_MAX, self._reactor)
        try:
            await ending
        except TimeoutError:
            self._log.warn("{what} took too long to close", what=what)


def _first(settings: Settings) -> Configuration:
    """Return the configuration that a node knows before it has learnt of any."""
    names = tuple(name for name, _ in settings.peers)
    if not settings.is_joining:
        return Configuration(voters=names)
    others = tuple(name for name in names if name != settings.node)
    return Configuration(voters=others, learners=(settings.node,))


def _tuning(settings: Settings) -> Tuning:
    return Tuning(
        timing=Timing.of_lease(settings.lease_seconds, leases=settings.leases),
        request_seconds=settings.request_seconds,
        history_revisions=settings.history_revisions,
        image_every_bytes=settings.image_every_bytes,
        log_bytes_kept=settings.log_bytes_kept,
    )


def _now() -> float:
    """Return seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _time_ms() -> int:
    return time.time_ns() // 1_000_000


def _room_for(connections: int) -> int:
    """Let this process have as many files as that takes; return how many it may serve.

    What systems grant at first, often 1,024, is what a process may raise by itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    wanted = connections + FILES_BESIDE
    granted = max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    return max(1, min(connections, granted - FILES_BESIDE))


def settle_interpreter() -> None:
    """Set what was loaded apart from what the collector looks at, and let threads change soon.

    The journal's thread wants the interpreter for moments only, but waits for it as long as
    `sys.getswitchinterval` says while the reactor is busy: five milliseconds by default, which is
    thirty times what the disk takes.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.unfreeze()  # what was loaded before may be no more
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
