"""The status page, the probe and the figures, as a browser, curl and Prometheus see them."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from coord.commands import Caller, Level
from coord.frontends.web import live, looking, site
from coord.frontends.web.site import StatusSite
from coord.frontends.web.subjects import Subjects
from tests.replicator.case import Case

HTML = "text/html,*/*"


@attrs.define
class Traffic:
    """What went to and from a peer."""

    links: int = 1
    frames_in: int = 2
    frames_out: int = 3
    bytes_in: int = 4
    bytes_out: int = 5
    dropped: int = 6


class Links:
    """One peer."""

    def connected(self) -> frozenset[str]:
        """Return it."""
        return frozenset({"n2"})

    def traffic(self) -> dict[str, Traffic]:
        """Return its traffic."""
        return {"n2": Traffic(), "n3": Traffic()}


class Clients:
    """Seven clients."""

    connections = 7


class Wire(StringTransport):
    """A transport that notes how it ended."""

    aborted = False

    def abortConnection(self) -> None:
        """Take note."""
        self.aborted = True


class WebCase(Case):
    """Has a node of one with a page; who looks at it has ``level``."""

    level = Level.ADMIN

    def setUp(self) -> None:
        """Make the node and its page."""
        super().setUp()
        self.found(1)
        node = self.nodes["n1"]
        subjects = Subjects(
            account=node.replicator.account,
            coordinator=node.coordinator,
            transport=Links(),
            clients=Clients(),
            strangers=self,
        )
        self.site = StatusSite(self.clock, subjects)
        self.addCleanup(self.site.close_all)

    def stranger(self, address: IAddress) -> Caller:
        """Return who looks: as many rights as the test says."""
        return Caller("anonymous", "127.0.0.1:4711", self.level)

    def open(self, path: str, accept: str = "*/*", method: str = "GET") -> tuple[Any, Wire]:
        """Ask for something; return the connection and its wire."""
        channel = self.site.buildProtocol(None)
        wire = Wire()
        channel.makeConnection(wire)
        request = f"{method} {path} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n"
        channel.dataReceived(request.encode())
        return channel, wire

    def load(self, path: str, accept: str = "*/*", method: str = "GET") -> tuple[str, str]:
        """Return head and body of the answer to a request."""
        _, wire = self.open(path, accept, method)
        head, _, body = wire.value().decode().partition("\r\n\r\n")
        return head, body

    def write(self, path: str, value: bytes = b"x") -> None:
        """Have a value written and applied."""
        self.set("n1", path, value)
        self.advance(0.05)


class Page(WebCase):
    """What stands at ``/`` and ``/tree/``."""

    def test_browser(self) -> None:
        """A browser gets the cluster and the tree in the page itself, script or not."""
        self.write("/message", b"hello, world")
        head, body = self.load("/", HTML)
        self.assertIn("200 OK", head)
        self.assertIn("text/html", head)
        for text in ("n1 of cluster-1", "<td>n1:1</td>", "hello, world", "leader", "serves"):
            self.assertIn(text, body)
        self.assertIn('<a href="/tree/message">message</a>', body)

    def test_text(self) -> None:
        """Who does not ask for HTML gets rows as the line protocol has them."""
        self.write("/a b", b"1\n2")
        head, body = self.load("/")
        self.assertIn("text/plain", head)
        self.assertEqual(body.splitlines()[0], "node=n1")
        self.assertIn("n1 n1:1 voter up", body.splitlines())
        rev = self.rev("n1")
        self.assertIn(f"/a%20b {rev} 1\\n2", body.splitlines())
        self.assertEqual(self.load("/tree/a%20b")[1], f"/a%20b {rev} 1\\n2\n")

    def test_places(self) -> None:
        """Each place has a page with links up and down."""
        self.write("/services/web/1", b"up")
        _, body = self.load("/tree/services/web", HTML)
        for address in ("/tree/", "/tree/services", "/tree/services/web", "/tree/services/web/1"):
            self.assertIn(f'href="{address}"', body)
        self.assertEqual(self.load("/tree/services/", HTML)[0][:15], "HTTP/1.1 200 OK")

    def test_escaped(self) -> None:
        """Whatever names and values hold, it stays text, and links lead to it."""
        for name in ("<script>alert(1)</script>"[:8], 'a"b', "a'b", "a&b", "a?b#c", "ü", "a%2Fb"):
            self.write(f"/x/{name}", b"</section><script>alert(1)</script>")
        _, body = self.load("/tree/x", HTML)
        self.assertEqual(body.count("<script"), 1)
        links = re.findall(r'href="(/tree/x/[^"]*)"', body)
        self.assertEqual(len(links), 7)
        for link in links:
            self.assertIn("200 OK", self.load(link, HTML)[0], link)
            self.assertEqual(self.load(link, HTML)[1].count("<script"), 1)

    def test_values(self) -> None:
        """Long values are cut, and what is no text is shown as bytes."""
        self.write("/long", b"y" * 100_000)
        self.write("/cut", ("ü" * 9000).encode())
        self.write("/binary", bytes(range(256)) * 8)
        self.write("/control", b"a\x1b[2J\xe2\x80\xaeb")
        _, body = self.load("/", HTML)
        self.assertLess(len(body), 20_000)
        self.assertIn("2048 bytes:", body)
        self.assertIn("a\\x1b[2J\\u202eb", body)
        _, body = self.load("/tree/long", HTML)
        self.assertIn("the first 16384 of 100000 bytes", body)
        self.assertIn("ü" * 8000, self.load("/tree/cut", HTML)[1])
        _, body = self.load("/tree/binary", HTML)
        self.assertIn("0030  30 31 32", body)
        self.assertLess(len(body), 20_000)

    def test_not_there(self) -> None:
        """A place that is not there, or cannot be, is a 404 with a page."""
        for path in ("/tree/no", "/tree/a//b", "/tree/..%2Fx", "/tree/%ff", "/tree/a/../b"):
            for accept in ("*/*", HTML):
                head, body = self.load(path, accept)
                self.assertIn(" 404 ", head, path)
                self.assertTrue(body)
        self.assertIn(" 404 ", self.load("/etc/passwd")[0])

    def test_many(self) -> None:
        """A place with many below it shows the first hundred, and how many more there are."""
        for number in range(120):
            self.set("n1", f"/many/{number:03}")
        self.advance(0.1)
        _, body = self.load("/tree/many", HTML)
        self.assertIn(f"/tree/many/{looking.CHILDREN_MAX - 1:03}", body)
        self.assertNotIn(f"/tree/many/{looking.CHILDREN_MAX:03}", body)
        self.assertIn("and 20 more", body)
        self.assertIn("... and 20 more", self.load("/tree/many")[1])
        self.assertEqual(self.nodes["n1"].replicator.store.describe().split("pictures ")[1][0], "0")

    def test_policy(self) -> None:
        """A browser may run the page's own script and nothing else."""
        head, body = self.load("/", HTML)
        (script,) = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self.assertIn(f"script-src 'sha256-{digest}'", head)
        self.assertIn("default-src 'none'", head)

    def test_no_quorum(self) -> None:
        """A node without a quorum still shows what it has, and says so on top."""
        self.write("/a", b"kept")
        self.nodes["n1"].replicator.account.replica._elections.leadership = None
        self.clock.advance(0)
        _, body = self.load("/", HTML)
        self.assertIn('class="trouble"', body)
        self.assertIn("kept", body)

    def test_connections_max(self) -> None:
        """So many connections are taken and no more."""
        opened = [self.open("/health") for _ in range(site.CONNECTIONS_MAX)]
        self.assertIsNone(self.site.buildProtocol(None))
        opened[0][0].connectionLost(None)
        self.assertIsNotNone(self.site.buildProtocol(None))


class Readers(WebCase):
    """Who may see what: as on the line protocol, for one who shows no secret."""

    def setUp(self) -> None:
        """Have something open, something closed, and something open below that."""
        super().setUp()
        self.write("/open/a", b"shown")
        self.write("/closed/b", b"hidden")
        self.write("/closed/c/open", b"below")

    def rule(self, text: bytes) -> None:
        """Have rules written."""
        self.write("/ctl/acl", text)

    def test_nothing(self) -> None:
        """Who may read nothing gets 403 and is told what to do; the front page tells of nodes."""
        self.level = Level.NONE
        for accept in ("*/*", HTML):
            for place in ("/tree/", "/tree/open", "/tree/open/a", "/tree/nowhere"):
                head, body = self.load(place, accept)
                self.assertIn(" 403 ", head, place)
                self.assertIn("AUTH", body)
                self.assertNotIn("shown", body)
            head, body = self.load("/", accept)
            self.assertIn(" 200 ", head)
            self.assertIn("n1:1", body)
            self.assertIn("AUTH", body)
            self.assertNotIn("closed", body)
        self.assertIn(" 200 ", self.load("/health")[0])
        self.assertIn(" 200 ", self.load("/metrics")[0])

    def test_rules(self) -> None:
        """With rules one sees what they let strangers read, and how to get there."""
        self.level = Level.WRITE
        self.rule(b"anonymous read /open/**\nanonymous read /closed/c/open")
        self.assertIn("shown", self.load("/tree/open/a")[1])
        self.assertIn(" 403 ", self.load("/tree/closed/b", HTML)[0])
        head, body = self.load("/", HTML)
        self.assertIn(" 200 ", head)
        for name in ("open", "closed"):
            self.assertIn(f'href="/tree/{name}"', body)
        self.assertNotIn('href="/tree/ctl"', body)
        head, body = self.load("/tree/closed", HTML)
        self.assertIn(" 200 ", head)
        self.assertIn('href="/tree/closed/c"', body)
        self.assertNotIn("/closed/b", body)
        self.assertIn("/closed/c -", self.load("/tree/closed")[1].splitlines())

    def test_open_pages(self) -> None:
        """A page that stays open shows each viewer what that one may see, as the rules change."""
        _, first = self.open("/events/tree/open/a")
        self.level = Level.WRITE
        _, second = self.open("/events/tree/open/a")
        self.advance(1.0)
        for wire in (first, second):
            self.assertIn(b"shown", wire.value())
            wire.clear()
        self.rule(b"alice read /**")
        self.write("/open/a", b"news")
        self.advance(1.0)
        self.assertIn(b"news", first.value())
        self.assertNotIn(b"news", second.value())
        self.assertIn(b"AUTH", second.value())


class Probe(WebCase):
    """What stands at ``/health``."""

    def test_serving(self) -> None:
        """A node with a quorum is well."""
        head, body = self.load("/health")
        self.assertIn(" 200 ", head)
        self.assertEqual(body, "ok\n")

    def test_troubled(self) -> None:
        """A node that does not serve says why, in one line and with 503."""
        self.nodes["n1"].replicator.failed(OSError("no\nroom"))
        head, body = self.load("/health")
        self.assertIn(" 503 ", head)
        self.assertEqual(body, "journal: no room\n")


class Figures(WebCase):
    """What stands at ``/metrics``."""

    def test_all(self) -> None:
        """Every figure can be read by Prometheus, has a text, and tells what is."""
        self.write("/a")
        head, body = self.load("/metrics")
        self.assertIn("text/plain", head)
        families = {one.name: one for one in text_string_to_metric_families(body)}
        for name, value in (
            ("coord_revision", self.rev("n1")),
            ("coord_is_leader", 1),
            ("coord_serving", 1),
            ("coord_writes", 1),
            ("coord_clients", 7),
        ):
            self.assertEqual(families[name].samples[0].value, value, name)
        ups = {one.labels["peer"]: one.value for one in families["coord_peer_up"].samples}
        self.assertEqual(ups, {"n2": 1.0, "n3": 0.0})
        for name, family in families.items():
            self.assertTrue(family.documentation, name)
            self.assertRegex(name, r"\A(coord|process)_[a-z_]+\Z")

    def test_documented(self) -> None:
        """Every figure of ours is in the pages."""
        text = Path(__file__).parents[2].joinpath("doc", "web.rst").read_text(encoding="utf-8")
        names = re.findall(r"^# TYPE (coord_\w+)", self.load("/metrics")[1], re.MULTILINE)
        self.assertTrue(names)
        self.assertEqual([name for name in names if f"``{name}``" not in text], [])


class LivePages(WebCase):
    """What stands at ``/events/``."""

    def events(self, wire: Wire) -> list[tuple[str, str]]:
        """Return the events that came since the last call."""
        text = wire.value().decode()
        wire.clear()
        found = re.findall(r"event: (\w+)\n((?:data: [^\n]*\n)+)\n", text)
        return [(name, part.replace("data: ", "")) for name, part in found]

    def test_changes(self) -> None:
        """An open page is told what it shows, then what changes, and nothing twice."""
        _, wire = self.open("/events/tree/a")
        self.assertIn(b"text/event-stream", wire.value())
        self.advance(0.1)
        self.assertEqual([name for name, _ in self.events(wire)], ["cluster", "tree"])
        self.advance(2.0)
        self.assertEqual(self.events(wire), [])
        self.write("/a/b", b"<new>")
        self.advance(1.0)
        told = dict(self.events(wire))
        self.assertIn("&lt;new&gt;", told["tree"])
        self.assertIn(str(self.rev("n1")), told["cluster"])

    def test_gone(self) -> None:
        """A viewer that leaves, and the last one, leave nothing behind."""
        first, _ = self.open("/events/")
        second, _ = self.open("/events/tree/a")
        self.advance(1.0)
        self.assertEqual(self.site._live.viewers, 2)
        first.connectionLost(Failure(OSError()))
        second.connectionLost(Failure(OSError()))
        self.advance(1.0)
        self.assertEqual(self.site._live.viewers, 0)
        self.assertEqual(self.site._live._places, {})
        self.assertIsNone(self.site._live._call)

    def test_slow(self) -> None:
        """A viewer that does not read is sent nothing more, and is let go after a while."""
        _, wire = self.open("/events/")
        self.advance(1.0)
        wire.clear()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        self.write("/a")
        self.advance(5.0)
        self.assertEqual(wire.value(), b"")
        self.assertFalse(wire.aborted)
        self.advance(6.0)
        self.assertTrue(wire.aborted)

    def test_reads_again(self) -> None:
        """A viewer that reads again is told how things are now, once."""
        _, wire = self.open("/events/")
        self.advance(1.0)
        wire.clear()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        for number in range(3):
            self.write("/a", f"{number}".encode())
        self.advance(2.0)
        wire.producer.resumeProducing()  # type: ignore[union-attr]
        self.advance(1.0)
        told = [part for name, part in self.events(wire) if name == "tree"]
        self.assertEqual(len(told), 1)
        self.assertIn("<code>2</code>", told[0])

    def test_quiet(self) -> None:
        """Where nothing happens, a viewer hears now and then that it is so."""
        _, wire = self.open("/events/")
        self.advance(1.0)
        wire.clear()
        self.advance(live.QUIET_SECONDS + 1)
        self.assertIn(b": still here\n\n", wire.value())

    def test_too_many(self) -> None:
        """One viewer too many is told so, with 503."""
        for _ in range(live.VIEWERS_MAX):
            self.open("/events/")
        head, body = self.load("/events/")
        self.assertIn(" 503 ", head)
        self.assertIn("too many", body)

    def test_bounded(self) -> None:
        """However many places are looked at, a tick makes so many anew; all get their turn."""
        made: list[str] = []

        def make(path: str, reader: Caller) -> str:
            made.append(path)
            return path

        self.patch(self.site._live, "_place", make)
        wires = [self.open(f"/events/tree/{number}")[1] for number in range(20)]
        self.advance(0.01)
        self.assertEqual(len(made), live.PLACES_PER_TICK)
        self.advance(3 * live.TICK_SECONDS)
        self.assertEqual(len(made), 20)
        for wire in wires:
            self.assertIn("tree", dict(self.events(wire)))
        self.advance(2.0)
        self.assertEqual(len(made), 20)
        for _ in range(6):
            self.write("/a")
            self.advance(live.TICK_SECONDS)
        self.assertEqual({made.count(f"/{number}") >= 2 for number in range(20)}, {True})

    def test_bug(self) -> None:
        """A bug in making a page is logged, and the next tick tries again."""
        self.patch(self.site._live, "_place", lambda *_: 1 / 0)
        self.open("/events/")
        self.advance(0.6)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_head(self) -> None:
        """Who asks for the head alone gets it, and is not kept."""
        head, _ = self.load("/events/", method="HEAD")
        self.assertIn("200 OK", head)
        self.assertEqual(self.site._live.viewers, 0)
        self.assertIn(" 404 ", self.load("/events/tree/a//b")[0])

    def test_head_of_all(self) -> None:
        """A probe that asks for the head alone gets that of a GET, and the log stays empty."""
        lines: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        for path in ("/", "/tree/nope", "/health", "/metrics"):
            head, body = self.load(path, method="HEAD")
            whole, content = self.load(path)
            self.assertEqual(body, "")
            self.assertEqual(head.splitlines()[0], whole.splitlines()[0])
            length = re.search(r"(?i)content-length: (\d+)", head)
            self.assertLess(abs(int(length[1] if length else 0) - len(content)), 50)
        self.assertEqual(
            [one for one in lines if one["log_namespace"].startswith("twisted.web")], []
        )

    def test_node_stops(self) -> None:
        """A node that stops lets its viewers go."""
        _, wire = self.open("/events/")
        _, idle = self.open("/health")
        self.assertFalse(idle.disconnecting)
        self.site.close_all()
        self.assertTrue(wire.aborted)
        self.assertTrue(idle.disconnecting)
