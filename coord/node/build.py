"""A node, from its settings to a service.

It starts from the outside in: certificates are read, then ports are taken, and only when
nothing stands in the way the directory is opened, the store is loaded, and the node takes part
(`coord.node.lives`, `coord.node.life`). It stops the other way round: nobody new is let in, what
waits is answered, clients and peers are let go, and the journal is the last to close.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, ensureDeferred

from coord.commands import Level
from coord.frontends.access import Gate
from coord.frontends.console.keys import ConsoleError, KeyFile
from coord.frontends.secrets import Secrets, SecretsError, read_secrets
from coord.node.certified import line_endpoint
from coord.node.doors import Door
from coord.node.life import Premises
from coord.node.lives import Lives
from coord.node.settings import Refused, Settings
from coord.peers.identity import Credentials, CredentialsError
from coord.peers.identity import Identity as Certified
from coord.replicator.admission import REMOVED


def build(reactor: Any, settings: Settings) -> IService:
    """Return the service of one node, not started. ``reactor`` is the real one, or acts so.

    :raises Refused: where an endpoint makes no sense or a certificate does not fit. Starting
        the service may raise it, too: a port is in use, a directory is another node's.
    """
    return NodeService(reactor, settings)


class NodeService(Service):
    """One node, to be started and stopped once."""

    name = "coord"

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._settings = settings
        _check_removed(settings)
        line_endpoints = partial(line_endpoint, certificate_required=not settings.has_secrets)

        def door(option: str, endpoint: str | None) -> Door | None:
            return Door(reactor, option, endpoint) if endpoint else None

        self._premises = Premises(
            reactor=reactor,
            settings=settings,
            credentials=_credentials(settings),
            key_files=_key_files(settings),
            gate=Gate(reactor, _secrets(settings)),
            line_doors=[Door(reactor, "listen", one, line_endpoints) for one in settings.listen],
            web_door=door("web", settings.web),
            console_door=door("console", settings.console),
            peer_door=door("peer-listen", settings.peer_listen),
        )
        self._lives = Lives(self._premises)
        self._is_open = False

    def privilegedStartService(self) -> None:
        """Take all ports, while it is still allowed to take low ones."""
        if self._is_open:
            return
        settings, premises = self._settings, self._premises
        for door, endpoint in zip(premises.line_doors, settings.listen, strict=True):
            door.open(exposed=settings.may_be_exposed(endpoint))
        if premises.web_door is not None:
            premises.web_door.open(exposed=settings.open or settings.has_secrets)
        for inner in filter(None, (premises.peer_door, premises.console_door)):
            inner.open()
        self._is_open = True

    def startService(self) -> None:
        """Take the ports, open the directory, load the store, and take part."""
        self.privilegedStartService()
        self._lives.begin()
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Let nobody in, answer what waits, let everyone go, close the journal."""
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        premises = self._premises
        for door in filter(None, (*premises.line_doors, premises.web_door, premises.console_door)):
            await door.close()
        await self._lives.end()
        if premises.peer_door is not None:
            await premises.peer_door.close()


def _check_removed(settings: Settings) -> None:
    """Raise `Refused` where the node of this directory is a member no more."""
    if (settings.data / REMOVED).exists():
        raise Refused(
            f"{settings.data} is of a node that was removed from its cluster ({REMOVED} there says"
            " more): to have it again, empty that directory, MEMBER add the node, start with --join"
        )


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
