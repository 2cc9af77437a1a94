"""Ports that are taken before anything else is touched, and opened when all is ready.

A node that cannot have one of its ports must not have made or opened a directory first. So
every `Door` takes its port at once; whoever comes early waits in the kernel's queue, since
nothing is accepted before the reactor turns, and by then the door leads to the real factory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from coord.node.settings import Refused, is_loopback, split_endpoint

BACKLOG: Final = 1024
"""Connections that may wait to be accepted; the kernel may allow fewer."""


@implementer(IProtocolFactory, ILoggingContext)
class _Vestibule:
    """Stands in for the factory that comes later, and then hands on to it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.target: IProtocolFactory | None = None

    def lead(self, target: IProtocolFactory | None) -> None:
        """Lead to another factory, or to none: who comes then is turned away."""
        former, self.target = self.target, target
        if target is not None:
            target.doStart()
        if former is not None:
            former.doStop()

    def logPrefix(self) -> str:
        """Return what Twisted's own lines in the log call it."""
        return self._what

    def doStart(self) -> None:
        """Take note of a port; the real factory learns of it in `Door.listen`."""

    def doStop(self) -> None:
        """Let the real factory know that it is over."""
        self.lead(None)

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        """Return what the real factory makes; nobody is let in before it is there."""
        return self.target.buildProtocol(address) if self.target is not None else None


@implementer(IListeningPort)
class _Lent:
    """A port that is the door's: whoever got it gives it back by ``stopListening``."""

    def __init__(self, port: IListeningPort, vestibule: _Vestibule) -> None:
        self._port = port
        self._vestibule = vestibule

    def startListening(self) -> None:
        """Do nothing: the port was taken before."""

    def stopListening(self) -> Deferred[None]:
        """Let nobody in any more until somebody else listens; the port stays the door's."""
        self._vestibule.lead(None)
        return succeed(None)

    def getHost(self) -> IAddress:
        """Return where it listens."""
        return self._port.getHost()


@implementer(IStreamServerEndpoint)
class Door:
    """One endpoint of ``option``: `open` takes the port, ``listen`` says who answers there.

    ``make`` reads its description.

    :raises Refused: where the endpoint string makes no sense.
    """

    def __init__(
        self,
        reactor: object,
        option: str,
        description: str,
        make: Callable[[object, str], IStreamServerEndpoint] = serverFromString,
    ) -> None:
        self._what = f"--{option} {description}"
        self._vestibule = _Vestibule(self._what)
        self._port: IListeningPort | None = None
        try:
            self._endpoint = make(reactor, with_backlog(description))
        except Exception as error:  # each kind of endpoint has errors of its own
            raise Refused(f"{self._what} is no endpoint: {_reason(error)}") from None

    def open(self, *, exposed: bool = True) -> None:
        """Take the port; ``exposed`` says whether others than this machine may reach it.

        :raises Refused: where someone else has it, or others reach it that may not.
        """
        ended: list[IListeningPort | Failure] = []
        try:
            self._endpoint.listen(self._vestibule).addBoth(ended.append)
        except Exception as error:  # systemd: without sockets, unix: without its folder
            ended.append(Failure(error))
        assert ended, "server endpoints listen at once"
        if isinstance(ended[0], Failure):
            raise Refused(f"{self._what} cannot be had: {_reason(ended[0].value)}")
        self._port = ended[0]
        host = getattr(self._port.getHost(), "host", None)
        if not exposed and host is not None and not is_loopback(host):
            raise Refused(
                f"{self._what} can be reached from elsewhere and nobody there is asked who they"
                " are: give --read-secret or its kin, or --open if that is meant"
            )

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Let ``factory`` answer from now on, in the place of any before it; fires at once.

        The port it fires with goes on being this door's when that listens no more: see `close`.
        """
        assert self._port is not None, "open() comes first"
        self._vestibule.lead(factory)
        return succeed(_Lent(self._port, self._vestibule))

    def close(self) -> Deferred[None]:
        """Give the port back; fires when that is done. Harmless where it was never taken."""
        port, self._port = self._port, None
        closing = port.stopListening() if port is not None else None
        return closing.addCallback(lambda _: None) if closing is not None else succeed(None)


def with_backlog(description: str) -> str:
    """Return an endpoint string that lets many come at one time, unless it says how many.

    Twisted's own number, 50, makes clients wait a second or more when all of them come back
    at once, as they do after a node was restarted.
    """
    kind, _, options = split_endpoint(description)
    if kind not in ("tcp", "tcp6", "ssl", "unix") or "backlog" in options:
        return description
    return f"{description}:backlog={BACKLOG}"


def _reason(error: BaseException | None) -> str:
    """Return in a few words why an endpoint does not work."""
    if isinstance(error, CannotListenError):
        if isinstance(error.socketError, OSError) and error.socketError.strerror:
            return f"{error.socketError.strerror}; stop who has it, or choose another"
        return str(error.socketError)
    if isinstance(error, LookupError):  # how Twisted says that systemd's list has no such one
        return f"there is no such socket ({error})"
    return str(error) or type(error).__name__
