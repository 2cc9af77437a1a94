"""The status page and the probe, as a browser and as curl see them."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from coord.frontends.web import StatusSite
from coord.results import Items


class Source:
    """A node that says what it was told to."""

    def __init__(self, quorum: str = "yes") -> None:
        self.quorum = quorum

    def status(self) -> Items:
        """Return three items, one of them an attempt at mischief."""
        return Items(7, ("node=n1", "cluster=<b>c</b>", f"quorum={self.quorum}"))

    def members(self) -> Items:
        """Return two nodes."""
        return Items(7, ("n1 127.0.0.1:1 voter up", "n2 127.0.0.1:2 voter down"))


def load(path: str, accept: str = "*/*", source: Source | None = None) -> tuple[str, str]:
    """Return head and body of the answer to a GET over a wire in memory."""
    site = StatusSite(source or Source())
    channel = site.buildProtocol(None)
    wire = StringTransport()
    channel.makeConnection(wire)
    channel.dataReceived(f"GET {path} HTTP/1.0\r\nHost: h\r\nAccept: {accept}\r\n\r\n".encode())
    head, _, body = wire.value().decode().partition("\r\n\r\n")
    return head, body


class Page(SynchronousTestCase):
    """What stands at ``/``."""

    def test_browser(self) -> None:
        """A browser gets a page with every item of status and members, and no script."""
        head, body = load("/", accept="text/html,*/*")
        self.assertIn("200 OK", head)
        self.assertIn("text/html", head)
        for text in ("n1", "127.0.0.1:2", "voter", "down", "quorum"):
            self.assertIn(f"<td>{text}</td>", body)
        self.assertNotIn("<script", body)

    def test_escaped(self) -> None:
        """A name with markup in it stays text."""
        _, body = load("/", accept="text/html")
        self.assertNotIn("<b>", body)
        self.assertIn("&lt;b&gt;c&lt;/b&gt;", body)

    def test_text(self) -> None:
        """Who does not ask for HTML gets the rows as the line protocol has them."""
        head, body = load("/")
        self.assertIn("text/plain", head)
        self.assertEqual(body.splitlines()[0], "node=n1")
        self.assertIn("n2 127.0.0.1:2 voter down", body.splitlines())

    def test_elsewhere(self) -> None:
        """Any other page is not there."""
        self.assertIn(" 404 ", load("/etc/passwd")[0])


class Probe(SynchronousTestCase):
    """What stands at ``/health``."""

    def test_serving(self) -> None:
        """A node with a quorum is well."""
        head, body = load("/health")
        self.assertIn(" 200 ", head)
        self.assertEqual(body, "ok\n")

    def test_alone(self) -> None:
        """A node that lost the others says so, in one line and with 503."""
        head, body = load("/health", source=Source("no"))
        self.assertIn(" 503 ", head)
        self.assertEqual(body.count("\n"), 1)
        self.assertIn("no quorum", body)
