"""The web page: how this node and its cluster are, for a person and for a probe.

``/`` is the page (text where the client does not ask for HTML), ``/health`` answers 200
while the node serves and 503 with the reason where it does not. Nothing can be changed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

from twisted.web.http import SERVICE_UNAVAILABLE
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from coord.results import Items

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; color: #222; background: #fff }}
table {{ border-collapse: collapse }} td {{ padding: .2em 1em .2em 0; font-family: monospace }}
</style></head>
<body>
<h1>{title}</h1>
<h2>This node</h2>
<table>
{status}
</table>
<h2>The cluster as this node sees it</h2>
<table>
{members}
</table>
<p>As of this moment; load the page again for the next.</p>
</body>
</html>
"""


class IStatusSource(Protocol):
    """Who knows how the node is."""

    def status(self) -> Items:
        """Return rows of ``name=value``, as ``STATUS`` does."""

    def members(self) -> Items:
        """Return one row a node, as ``MEMBERS`` does."""


class StatusSite(Site):
    """The site; who loads a page is not worth a line in the log."""

    noisy = False

    def __init__(self, source: IStatusSource) -> None:
        root = Resource()
        root.putChild(b"", StatusPage(source))
        root.putChild(b"health", Health(source))
        Site.__init__(self, root)

    def log(self, request: HTTPRequest) -> None:
        """Say nothing."""


class StatusPage(Resource):
    """``/``: the items of ``STATUS`` and ``MEMBERS``."""

    isLeaf = True

    def __init__(self, source: IStatusSource) -> None:
        Resource.__init__(self)
        self._source = source

    def render_GET(self, request: Request) -> bytes:
        """Return the page as HTML to who asks for it, else as text."""
        request.setHeader(b"cache-control", b"no-store")
        status, members = self._source.status().rows, self._source.members().rows
        if b"text/html" in (request.getHeader(b"accept") or b""):
            request.setHeader(b"content-type", b"text/html; charset=utf-8")
            return page(status, members).encode()
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return "".join(f"{row}\n" for row in (*status, "", *members)).encode()


class Health(Resource):
    """``/health``: whether this node serves."""

    isLeaf = True

    def __init__(self, source: IStatusSource) -> None:
        Resource.__init__(self)
        self._source = source

    def render_GET(self, request: Request) -> bytes:
        """Return ``ok``, or the reason why not."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.setHeader(b"cache-control", b"no-store")
        if items(self._source.status().rows).get("quorum") == "yes":
            return b"ok\n"
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return b"no quorum: this node reaches too few of the others\n"


def items(rows: Sequence[str]) -> dict[str, str]:
    """Return rows of ``name=value`` as a mapping."""
    return dict(row.partition("=")[::2] for row in rows)


def page(status: Sequence[str], members: Sequence[str]) -> str:
    """Return the whole page as HTML."""
    facts = items(status)
    return _PAGE.format(
        title=escape(f"coord: {facts.get('node', '?')} of {facts.get('cluster', '?')}"),
        status="\n".join(_row(row.partition("=")[::2]) for row in status),
        members="\n".join(_row(row.split(" ")) for row in members),
    )


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
