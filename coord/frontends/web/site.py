"""The addresses of the status page.

``/`` and ``/tree/...`` are pages (text where the client does not ask for HTML), ``/events/...``
keeps them as things are, ``/metrics`` is for Prometheus, and ``/health`` answers 200 while the
node serves and 503 with the reason where it does not.

Nobody is asked for a secret: whoever looks sees of the tree what a client sees that shows none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace
from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import FORBIDDEN, NOT_FOUND, SERVICE_UNAVAILABLE
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from coord import paths
from coord.commands import Caller
from coord.errors import BadPath, CoordError, Denied, NoEntry
from coord.frontends.web import page
from coord.frontends.web.live import Live
from coord.frontends.web.looking import Place, View, look
from coord.frontends.web.metrics import Metrics
from coord.frontends.web.subjects import Subjects

CONNECTIONS_MAX: Final = 192
"""Browsers and probes at one time; files are kept for them beside those of clients."""
_CLOSED: Final = (
    "This page shows what a client may see that shows no secret: say AUTH on the line protocol to"
    " see more there, or have an admin write a rule for anonymous into /ctl/acl"
)
_HTML: Final = b"text/html; charset=utf-8"
_TEXT: Final = b"text/plain; charset=utf-8"


class StatusSite(WrappingFactory[Any]):
    """Serves the page on any stream endpoint, to so many at one time."""

    noisy = False

    def __init__(self, clock: IReactorTime, subjects: Subjects) -> None:
        pages = Pages(subjects)
        self._live = Live(
            clock,
            cluster=lambda: page.cluster(subjects),
            place=pages.part,
            rev=lambda: subjects.coordinator.rev,
        )
        metrics = Metrics(subjects, lambda: self._live.viewers)
        root = Resource()
        root.putChild(b"", TreePage(pages))
        root.putChild(b"tree", TreePage(pages))
        root.putChild(b"events", Events(self._live, pages))
        root.putChild(b"metrics", MetricsPage(metrics))
        root.putChild(b"health", Health(subjects))
        WrappingFactory.__init__(self, _Quiet(root, clock))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the protocol of a new connection; None where there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAX:
            return None
        return WrappingFactory.buildProtocol(self, addr)

    def close_all(self) -> None:
        """Let go of open pages, and of who might ask for more; for a node that stops."""
        self._live.close()
        for connection in [*self.protocols]:
            connection.loseConnection()


class _Quiet(Site):
    """The site; who loads a page is not worth a line in the log."""

    noisy = False
    displayTracebacks = False

    def __init__(self, root: Resource, clock: IReactorTime) -> None:
        Site.__init__(self, root, reactor=clock)

    def log(self, request: HTTPRequest) -> None:
        """Say nothing."""


class Pages:
    """Pages over the objects of a node."""

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects

    def reader(self, request: Request) -> Caller:
        """Return for whom a page is read: a stranger, whatever its port."""
        stranger = self.subjects.strangers.stranger(request.getClientAddress())
        return replace(stranger, address="")

    def part(self, path: str, reader: Caller) -> str:
        """Return the part of a page that shows a place of the tree."""
        return _part(look(self.subjects.coordinator, path, reader))

    def html(self, path: str, reader: Caller) -> tuple[str, CoordError | None]:
        """Return a page about a place, and why there is none to see."""
        found = look(self.subjects.coordinator, path, reader)
        error = None if isinstance(found, View) else found
        return page.page(self.subjects, _part(found), path), error

    def text(
        self, path: str, reader: Caller, *, with_status: bool
    ) -> tuple[str, CoordError | None]:
        """Return the same as lines, for who does not ask for HTML."""
        lines: list[str] = []
        if with_status:
            account = self.subjects.account
            lines += [*account.status().rows, "", *account.members().rows, ""]
        found = look(self.subjects.coordinator, path, reader)
        error = None if isinstance(found, View) else found
        lines += _lines(found) if isinstance(found, View) else [f"{found.code}: {_reason(found)}"]
        return "".join(f"{line}\n" for line in lines), error


def _part(found: View | CoordError) -> str:
    return page.tree(found) if isinstance(found, View) else page.problem(_reason(found))


def _reason(error: CoordError) -> str:
    """Return why there is nothing to see, and what to do about it."""
    return f"{error.text}. {_CLOSED}" if isinstance(error, Denied) else error.text


def _lines(view: View) -> list[str]:
    lines = [_line(one) for one in (view.place, *view.below)]
    return lines + ([f"... and {view.left_out} more"] if view.left_out > 0 else [])


def _line(place: Place) -> str:
    value = "" if place.value is None else repr(place.value[: page.VALUE_LETTERS_MAX])[2:-1]
    rev = "-" if place.rev is None else place.rev
    return f"{paths.encode(place.path).decode()} {rev} {value}".rstrip()


def _path(parts: Sequence[bytes]) -> str:
    """Return the path that an address means; raise `CoordError`."""
    while parts and not parts[-1]:
        parts = parts[:-1]
    if any(b"/" in part for part in parts):
        raise BadPath("a / cannot be part of a name")
    try:
        return paths.validate("/" + b"/".join(parts).decode())
    except UnicodeDecodeError:
        raise BadPath("a path is UTF-8") from None


class _Told(Resource):
    """A resource whose answer is whole; who asks for the head alone gets no more, and no log."""

    isLeaf = True

    def render_HEAD(self, request: Request) -> bytes:
        """Return nothing, under the head that a GET would have."""
        body = self.render_GET(request)
        request.setHeader(b"content-length", b"%d" % len(body))
        return b""

    def render_GET(self, request: Request) -> bytes:
        """Return the answer."""
        raise NotImplementedError


class TreePage(_Told):
    """A place of the tree with the cluster above it; at ``/`` the root."""

    def __init__(self, pages: Pages) -> None:
        Resource.__init__(self)
        self._pages = pages

    def render_GET(self, request: Request) -> bytes:
        """Return the page as HTML to who asks for it, else as text."""
        _protect(request)
        wants_html = b"text/html" in (request.getHeader(b"accept") or b"")
        request.setHeader(b"content-type", _HTML if wants_html else _TEXT)
        request.setHeader(b"vary", b"accept")
        try:
            path = _path([*(request.postpath or ())])
        except CoordError as error:
            request.setResponseCode(NOT_FOUND)
            part = page.problem(error.text)
            shown = page.page(self._pages.subjects, part, "no such place")
            return shown.encode() if wants_html else f"{error.code}: {error.text}\n".encode()
        is_front = request.prepath == [b""]
        reader = self._pages.reader(request)
        if wants_html:
            text, why_not = self._pages.html(path, reader)
        else:
            text, why_not = self._pages.text(path, reader, with_status=is_front)
        if isinstance(why_not, NoEntry | BadPath):
            request.setResponseCode(NOT_FOUND)
        elif isinstance(why_not, Denied) and not is_front:  # that shows more than the tree
            request.setResponseCode(FORBIDDEN)
        return text.encode()


class Events(Resource):
    """``/events/`` and ``/events/tree/...``: what changes on the page of that address."""

    isLeaf = True

    def __init__(self, live: Live, pages: Pages) -> None:
        Resource.__init__(self)
        self._live = live
        self._pages = pages

    def render_HEAD(self, request: Request) -> bytes:
        """Return nothing: there is no end to wait for."""
        request.setHeader(b"content-type", b"text/event-stream")
        return b""

    def render_GET(self, request: Request) -> bytes | int:
        """Begin to tell."""
        parts = [*(request.postpath or ())]
        _protect(request)
        try:
            path = _path(parts[1:] if parts[:1] == [b"tree"] else parts)
        except CoordError as error:
            request.setResponseCode(NOT_FOUND)
            return error.text.encode()
        request.setHeader(b"content-type", b"text/event-stream")
        request.setHeader(b"x-accel-buffering", b"no")
        if self._live.add(request, (path, self._pages.reader(request))):
            return NOT_DONE_YET
        request.setHeader(b"content-type", _TEXT)
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return b"too many pages are open: load this one again for what is new\n"


class MetricsPage(_Told):
    """``/metrics``: for Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        Resource.__init__(self)
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        """Return all figures."""
        _protect(request)
        request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
        return self._metrics.render()


class Health(_Told):
    """``/health``: whether this node serves."""

    def __init__(self, subjects: Subjects) -> None:
        Resource.__init__(self)
        self._subjects = subjects

    def render_GET(self, request: Request) -> bytes:
        """Return ``ok``, or the reason why not."""
        _protect(request)
        request.setHeader(b"content-type", _TEXT)
        trouble = self._subjects.account.trouble()
        if trouble is None:
            return b"ok\n"
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return f"{trouble}\n".encode()


def _protect(request: Request) -> None:
    """Have browsers keep nothing, guess nothing, and run nothing but what is ours."""
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-security-policy", page.POLICY.encode())
    request.setHeader(b"referrer-policy", b"no-referrer")
    request.setHeader(b"x-content-type-options", b"nosniff")
