"""The addresses of the status page.

``/`` and ``/tree/...`` are pages (text where the client does not ask for HTML), ``/events/...``
keeps them as things are, ``/metrics`` is for Prometheus, and ``/health`` answers 200 while the
node serves and 503 with the reason where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import NOT_FOUND, SERVICE_UNAVAILABLE
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from coord import paths
from coord.errors import BadPath, CoordError, NoEntry
from coord.frontends.web import page
from coord.frontends.web.live import Live
from coord.frontends.web.looking import Place, View, look
from coord.frontends.web.metrics import Metrics
from coord.frontends.web.subjects import Subjects

CONNECTIONS_MAX: Final = 192
"""Browsers and probes at one time; files are kept for them beside those of clients."""
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
        root.putChild(b"events", Events(self._live))
        root.putChild(b"metrics", MetricsPage(metrics))
        root.putChild(b"health", Health(subjects))
        WrappingFactory.__init__(self, _Quiet(root, clock))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the protocol of a new connection; None where there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAX:
            return None
        return WrappingFactory.buildProtocol(self, addr)

    def close_all(self) -> None:
        """Let go of open pages; for a node that stops."""
        self._live.close()


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

    def part(self, path: str) -> str:
        """Return the part of a page that shows a place of the tree."""
        found = look(self.subjects.coordinator, path)
        return page.tree(found) if isinstance(found, View) else page.problem(found.text)

    def html(self, path: str) -> tuple[str, bool]:
        """Return a page about a place, and whether there is such a place."""
        found = look(self.subjects.coordinator, path)
        is_there = not isinstance(found, NoEntry | BadPath)
        part = page.tree(found) if isinstance(found, View) else page.problem(found.text)
        return page.page(self.subjects, part, path), is_there

    def text(self, path: str, *, with_status: bool) -> tuple[str, bool]:
        """Return the same as lines, for who does not ask for HTML."""
        lines: list[str] = []
        if with_status:
            account = self.subjects.account
            lines += [*account.status().rows, "", *account.members().rows, ""]
        found = look(self.subjects.coordinator, path)
        if isinstance(found, View):
            lines += _lines(found)
        else:
            lines.append(f"{found.code}: {found.text}")
        is_there = not isinstance(found, NoEntry | BadPath)
        return "".join(f"{line}\n" for line in lines), is_there


def _lines(view: View) -> list[str]:
    lines = [_line(one) for one in (view.place, *view.below)]
    return lines + ([f"... and {view.left_out} more"] if view.left_out > 0 else [])


def _line(place: Place) -> str:
    value = "" if place.value is None else repr(place.value[: page.VALUE_LETTERS_MAX])[2:-1]
    return f"{paths.encode(place.path).decode()} {place.rev} {value}".rstrip()


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
        if wants_html:
            text, is_there = self._pages.html(path)
        else:
            text, is_there = self._pages.text(path, with_status=is_front)
        if not is_there:
            request.setResponseCode(NOT_FOUND)
        return text.encode()


class Events(Resource):
    """``/events/`` and ``/events/tree/...``: what changes on the page of that address."""

    isLeaf = True

    def __init__(self, live: Live) -> None:
        Resource.__init__(self)
        self._live = live

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
        if self._live.add(request, path):
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
