"""The one place where all names meet: a node, from its settings to a service.

It starts from the outside in: certificates are read, then ports are taken, and only when
nothing stands in the way the directory is opened, the store is loaded, and the node takes part.
It stops the other way round: nobody new is let in, what waits is answered, clients and peers
are let go, and the journal is the last to close.
"""

from __future__ import annotations

import gc
import random
import resource
import secrets
import sqlite3
import sys
import time
from functools import partial
from typing import Any, Final

from twisted.application.service import IService, Service
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from coord.commands import Level
from coord.frontends.access import Gate
from coord.frontends.console.keys import ConsoleError, KeyFile, load_host_key
from coord.frontends.console.server import ConsoleFactory
from coord.frontends.console.words import Subjects
from coord.frontends.line import LineFactory
from coord.frontends.secrets import Secrets, SecretsError, read_secrets
from coord.frontends.web.site import StatusSite
from coord.frontends.web.subjects import Subjects as Shown
from coord.journal.errors import JournalError
from coord.journal.sqlite import Journal, open_journal
from coord.node.certified import line_endpoint
from coord.node.doors import Door
from coord.node.settings import Refused, Settings
from coord.paxos.membership import Configuration, Governs
from coord.paxos.timing import Timing
from coord.peers.identity import Credentials, CredentialsError
from coord.peers.identity import Identity as Certified
from coord.peers.transport import Transport
from coord.replicator.account import Identity
from coord.replicator.assembly import Node, Surroundings, assemble
from coord.replicator.digests import REPORTS
from coord.replicator.replicator import Tuning

STOP_SECONDS_MAX: Final = 5.0
"""How long links and clients may take to let go before the journal is closed anyway."""
_UNUSABLE: Final = (
    JournalError,
    CredentialsError,
    ConsoleError,
    OSError,
    sqlite3.Error,
    ValueError,
)
"""What the content of a directory, or of a disk, may lead to."""
FILES_BESIDE: Final = 256
"""Files kept for all that is not a client: peers, browsers, the journal."""
SWITCH_SECONDS: Final = 0.0001
"""How long one thread may keep another waiting for the interpreter."""
GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Young objects before a collection, and how often the older ones are looked at. What was
loaded is frozen, so no collection ever walks the store as it was at the start."""


def build(reactor: Any, settings: Settings) -> IService:
    """Return the service of one node, not started. ``reactor`` is the real one, or acts so.

    :raises Refused: where an endpoint makes no sense or a certificate does not fit. Starting
        the service may raise it, too: a port is in use, a directory is another node's.
    """
    return NodeService(reactor, settings)


class NodeService(Service):
    """One node, to be started and stopped once."""

    _log = Logger()
    name = "coord"

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._credentials = _credentials(settings)
        self._key_files = _key_files(settings)
        self._gate = Gate(reactor, _secrets(settings))
        line_endpoints = partial(line_endpoint, certificate_required=not settings.has_secrets)
        self._line_doors = [Door(reactor, "listen", one, line_endpoints) for one in settings.listen]
        self._web_door = Door(reactor, "web", settings.web) if settings.web else None
        console = settings.console
        self._console_door = Door(reactor, "console", console) if console else None
        peer_listen = settings.peer_listen
        self._peer_door = Door(reactor, "peer-listen", peer_listen) if peer_listen else None
        self._is_open = False
        self._journal: Journal | None = None
        self._transport: Transport | None = None
        self._node: Node | None = None
        self._lines: LineFactory | None = None
        self._console: ConsoleFactory | None = None
        self._host_key: Key | None = None
        self._site: StatusSite | None = None

    # -- start ---------------------------------------------------------------------------
    def privilegedStartService(self) -> None:
        """Take all ports, while it is still allowed to take low ones."""
        if self._is_open:
            return
        settings = self._settings
        for door, endpoint in zip(self._line_doors, settings.listen, strict=True):
            door.open(exposed=settings.may_be_exposed(endpoint))
        if self._web_door is not None:
            self._web_door.open(exposed=settings.open or settings.has_secrets)
        for door in filter(None, (self._peer_door, self._console_door)):
            door.open()
        self._is_open = True

    def startService(self) -> None:
        """Take the ports, open the directory, load the store, and take part."""
        self.privilegedStartService()
        try:
            self._load()
        except BaseException as error:
            if self._journal is not None:
                self._journal.close()  # or its thread would keep the process
            if isinstance(error, _UNUSABLE):
                raise Refused(f"{self._settings.data} cannot be used: {error}") from error
            raise
        _settle_interpreter()
        self._take_part()
        Service.startService(self)

    def _load(self) -> None:
        """Open the journal and put the node together around what it holds."""
        settings = self._settings
        initial = Configuration(voters=tuple(name for name, _ in settings.peers))
        self._journal = open_journal(
            self._reactor,
            settings.data,
            node=settings.node,
            cluster=settings.cluster,
            initial=(Governs(0, initial),),
        )
        recovered = self._journal.recover()
        if self._console_door is not None:
            self._host_key = load_host_key(settings.data)
        addresses = dict(settings.peers)
        self._transport = Transport(
            self._reactor,
            node=settings.node,
            cluster=settings.cluster,
            incarnation=recovered.incarnation,
            peers={name: where for name, where in addresses.items() if name != settings.node},
            listen=self._peer_door,
            credentials=self._credentials,
            dice=random.Random(),
        )
        identity = Identity(
            node=settings.node,
            cluster=settings.cluster,
            incarnation=recovered.incarnation,
            addresses=addresses,
        )
        surroundings = Surroundings(
            reactor=self._reactor,
            now=_now,
            time_ms=_time_ms,
            dice=random.Random(),
            secrets=secrets.token_bytes,
            journal=self._journal,
            peers=self._transport,
            report=self._keep_report,
            settle=_settle_interpreter,
        )
        self._node = assemble(surroundings, recovered, identity, _tuning(settings))

    def _keep_report(self, name: str, text: str) -> None:
        """Keep a text for a person beside the journal, and say where."""
        path = self._settings.data / name
        path.write_text(text, "utf-8")
        self._log.critical("what is known of it is in {path}", path=str(path))

    def _take_part(self) -> None:
        assert self._node is not None
        assert self._transport is not None
        self._transport.start().addErrback(
            lambda failure: self._log.failure("peers cannot reach this node", failure)
        )
        self._node.replicator.start()
        coordinator = self._node.coordinator
        self._lines = LineFactory(
            self._reactor,
            coordinator,
            gate=self._gate,
            line_bytes_max=self._settings.line_bytes_max,
            value_bytes_max=self._settings.value_bytes_max,
            connections_max=_room_for(self._settings.connections_max),
        )
        for door in self._line_doors:
            door.listen(self._lines)
        if self._web_door is not None:
            self._open_web(self._web_door)
        if self._console_door is not None:
            self._open_console(self._console_door)
        self._log.info(
            "node {node} of {cluster}, state in {data}, clients at {listen}; {access}",
            node=self._settings.node,
            cluster=self._settings.cluster,
            data=str(self._settings.data),
            listen=" ".join(self._settings.listen),
            access=self._gate.describe(),
        )
        for path in sorted(self._settings.data.glob(REPORTS)):
            self._log.warn(
                "an earlier life of this node stopped because its store differed from the others':"
                " see {path}, and take it away once that is dealt with",
                path=str(path),
            )

    def _open_web(self, door: Door) -> None:
        assert self._node is not None
        assert self._transport is not None
        assert self._lines is not None
        shown = Shown(
            account=self._node.replicator.account,
            coordinator=self._node.coordinator,
            transport=self._transport,
            clients=self._lines,
            strangers=self._gate,
        )
        self._site = StatusSite(self._reactor, shown)
        door.listen(self._site)

    def _open_console(self, door: Door) -> None:
        node, transport, journal, lines = self._node, self._transport, self._journal, self._lines
        assert node is not None
        assert transport is not None
        assert journal is not None
        assert lines is not None
        subjects = Subjects(
            replicator=node.replicator,
            coordinator=node.coordinator,
            transport=transport,
            journal=journal,
            lines=lines,
        )
        assert self._host_key is not None
        self._console = ConsoleFactory(self._reactor, subjects, self._host_key, self._key_files)
        door.listen(self._console)

    # -- stop ----------------------------------------------------------------------------
    def stopService(self) -> Deferred[None]:
        """Let nobody in, answer what waits, let everyone go, close the journal."""
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for door in filter(None, (*self._line_doors, self._web_door, self._console_door)):
            await door.close()
        if self._node is not None:
            self._node.replicator.stop()
        if self._lines is not None:
            self._lines.close_all()
        if self._console is not None:
            self._console.close_all()
        if self._site is not None:
            self._site.close_all()
        if self._transport is not None:
            await self._in_time(self._transport.stop(), "links to peers")
        if self._journal is not None:
            await self._journal.close()

    async def _in_time(self, ending: Deferred[None], what: str) -> None:
        """Wait for an end, but not for ever: the other side may be gone without a word."""
        ending.addTimeout(STOP_SECONDS_MAX, self._reactor)
        try:
            await ending
        except TimeoutError:
            self._log.warn("{what} took too long to close", what=what)


def _credentials(settings: Settings) -> Credentials | None:
    """Return where the certificates are, seen to be those of this node."""
    if not (settings.ca and settings.certificate and settings.key):
        return None
    credentials = Credentials(ca=settings.ca, certificate=settings.certificate, key=settings.key)
    try:
        Certified.load(credentials, settings.node)
    except CredentialsError as error:
        raise Refused(str(error)) from None
    return credentials


def _key_files(settings: Settings) -> list[KeyFile]:
    """Return the keys of those who may use the console, operators' first."""
    given = (
        ("authorized-keys", settings.authorized_keys, True),
        ("console-readers", settings.console_readers, False),
    )
    try:
        return [
            KeyFile(option, path, is_operator=is_operator)
            for option, path, is_operator in given
            if path is not None
        ]
    except ConsoleError as error:
        raise Refused(str(error)) from None


def _secrets(settings: Settings) -> Secrets:
    """Return the secrets that clients may show."""
    given = {
        Level.READ: settings.read_secret,
        Level.WRITE: settings.write_secret,
        Level.ADMIN: settings.admin_secret,
    }
    try:
        return read_secrets({level: path for level, path in given.items() if path is not None})
    except SecretsError as error:
        raise Refused(str(error)) from None


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


def _settle_interpreter() -> None:
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
