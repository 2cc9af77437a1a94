"""Who may do what, on real nodes: secrets, certificates, rules, and who is let in at all."""

from __future__ import annotations

import os
import select
import shlex
import socket
import ssl
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from coord.node.authority import create_authority, issue_client, issue_listener
from tests.functional.cluster import (
    HOST,
    PATIENCE_SECONDS,
    Cluster,
    Link,
    Node,
    eventually,
    free_ports,
    surroundings,
    twistd,
)


class Wrapped(Link):
    """A connection over a socket that the test made."""

    def __init__(self, wire: socket.socket) -> None:
        self.socket = wire
        self._file = wire.makefile("rb")


def link_from(host: str, node: Node) -> Link:
    """Return a connection to a node from an address of this machine."""
    address, source = (HOST, node.line_port), (host, 0)
    return Wrapped(socket.create_connection(address, PATIENCE_SECONDS, source))


def put(link: Link, path: str, value: str) -> str:
    """Set a value of several lines."""
    return link.ask(f"SET {path} {{{len(value.encode())}}}\n{value}")


class AccessCase(TestCase):
    """Has a cluster with secrets, and people who know them."""

    SECRETS = {"read": "r3ad\n", "write": "alice = w1\nbob = w2\n", "admin": "adm1n\n"}
    size = 1

    def setUp(self) -> None:
        """Start the nodes."""
        self.cluster = Cluster(self.size)
        self.addCleanup(self.cluster.close)
        for node in self.cluster.nodes:
            node.options = self.options()
        self.cluster.start()

    def options(self) -> tuple[str, ...]:
        """Write the files of secrets; return the options that name them."""
        words: list[str] = []
        for level, content in self.SECRETS.items():
            path = self.cluster.folder / f"{level}.secret"
            path.write_text(content)
            path.chmod(0o600)
            words += [f"--{level}-secret", str(path)]
        return tuple(words)

    def link(self, node: Node, secret: str = "") -> Link:
        """Return a connection on which a secret was shown."""
        link = node.link()
        self.addCleanup(link.close)
        if secret:
            self.assertRegex(link.ask(f"AUTH {secret}"), r"\AOK (read|write|admin)\Z")
        return link


class OnThreeNodes(AccessCase):
    """Secrets and rules in a cluster."""

    size = 3
    RULES = (
        "# who may what\n"
        "alice may write /services/**\n"
        "bob read /services/web/*\n"
        "* read /public\n"
        "anonymous write /drop/**\n"
    )

    def test_levels(self) -> None:
        """Without rules each secret opens its level, on every node, from this machine, too."""
        for node in self.cluster.nodes:
            link = self.link(node)
            self.assertTrue(link.ask("GET /a").startswith("ERR DENIED"))
            self.assertTrue(link.ask("AUTH nonsense").startswith("ERR DENIED"))
            self.assertEqual(link.ask("PING"), "OK")
            self.assertEqual(link.ask("AUTH r3ad"), "OK read")
            self.assertTrue(link.ask("GET /a").startswith(("ERR NOENT", "VALUE")))
            self.assertTrue(link.ask("SET /a 1").startswith("ERR DENIED"))
            self.assertEqual(link.ask("AUTH w1"), "OK write")
            self.assertTrue(link.ask("SET /a 1").startswith("OK "))
            self.assertTrue(link.ask("SET /ctl/acl * read /**").startswith("ERR DENIED"))
            self.assertEqual(link.ask("AUTH adm1n"), "OK admin")
            self.assertTrue(put(link, "/ctl/acl", "").startswith("OK "))

    def test_rules(self) -> None:
        """Rules that were written at one node hold at all, for reads, writes, lists and events."""
        first, second, third = self.cluster.nodes
        admin = self.link(first, "adm1n")
        for path in ("/services/web/1", "/services/db/1", "/public", "/secret"):
            self.assertTrue(admin.ask(f"SET {path} old").startswith("OK "))
        self.assertRegex(put(admin, "/ctl/acl", "bob read /**\nbob sing /a\n"), "ERR .*line 2")
        bob = self.link(third, "w2")
        self.assertTrue(bob.ask("GET /secret").startswith("VALUE"))
        self.assertTrue(put(admin, "/ctl/acl", self.RULES).startswith("OK "))
        watcher = self.link(second, "w2")
        watcher.ask("SYNC")
        self.assertTrue(watcher.ask("WATCH /**").startswith("OK "))
        alice = self.link(second, "w1")
        for path, allowed in (("/secret", False), ("/services/db/1", True)):
            answer = alice.ask(f"SET {path} new")
            self.assertTrue(answer.startswith("OK " if allowed else "ERR DENIED"), answer)
        for node in self.cluster.nodes:
            self.check_bob(self.link(node, "w2"))
            stranger = self.link(node)
            self.assertTrue(stranger.ask("GET /public").startswith("VALUE"))
            self.assertTrue(stranger.ask("GET /services/web/1").startswith("ERR DENIED"))
            self.assertTrue(stranger.ask("SET /drop/box 1").startswith("OK "))
        self.assertTrue(alice.ask("SET /services/web/1 newer").startswith("OK "))
        self.assertRegex(watcher.line(), r"\AEVENT \d+ set /services/web/1 newer\Z")
        rows = admin.rows("LOG /services/**")
        self.assertRegex(rows[0], r"\AITEM \d+ /services/web/1 SET alice@127\.0\.0\.1:\d+ ")

    def check_bob(self, bob: Link) -> None:
        """Hold what bob sees against the rules."""
        self.assertTrue(bob.ask("SYNC").startswith("OK "))
        self.assertTrue(bob.ask("GET /services/web/1").startswith("VALUE"))
        for request in ("GET /secret", "STAT /services/db/1", "SET /services/web/1 x", "DEL /drop"):
            answer = bob.ask(request)
            self.assertTrue(answer.startswith("ERR DENIED"), f"{request}: {answer}")
        self.assertEqual(bob.rows("LIST /services")[:-1], ["ITEM web"])
        self.assertEqual(bob.rows("LIST /")[:-1], ["ITEM public", "ITEM services"])
        rows = bob.rows("WALK /**")[:-1]
        self.assertEqual([row.split()[1] for row in rows], ["/public", "/services/web/1"])


class OnOneNode(AccessCase):
    """What one node does."""

    def test_slower(self) -> None:
        """After failures an address waits, also on another connection; another address does not."""
        (node,) = self.cluster.nodes
        with link_from("127.0.0.1", node) as guessing, link_from("127.0.0.1", node) as same:
            for number in range(6):
                self.assertTrue(guessing.ask(f"AUTH guess{number}").startswith("ERR DENIED"))
            same.send("AUTH adm1n")
            with link_from("127.0.0.2", node) as other:
                self.assertEqual(other.ask("AUTH adm1n"), "OK admin")
            self.assertEqual(select.select([same.socket], [], [], 0)[0], [])
            self.assertEqual(same.line(), "OK admin")

    def test_page(self) -> None:
        """The page shows nothing of a tree that wants a secret, and says so; the probe works."""
        (node,) = self.cluster.nodes
        self.assertTrue(self.link(node, "w1").ask("SET /a hidden").startswith("OK "))
        for path, wanted in (("/tree/a", 403), ("/tree/", 403), ("/health", 200), ("/", 200)):
            web = HTTPConnection(HOST, node.web_port, timeout=PATIENCE_SECONDS)
            web.request("GET", path)
            answer = web.getresponse()
            body = answer.read().decode()
            web.close()
            self.assertEqual(answer.status, wanted, path)
            self.assertNotIn("hidden", body)
            if wanted == 403:
                self.assertIn("AUTH", body)

    def test_replaced(self) -> None:
        """A secret that was taken out of its file opens nothing after a restart."""
        (node,) = self.cluster.nodes
        (self.cluster.folder / "write.secret").write_text("alice = new\n")
        node.stop()
        self.cluster.start()
        self.assertTrue(node.ask("AUTH w1").startswith("ERR DENIED"))
        eventually(lambda: node.ask("AUTH new") == "OK write", "the new secret opens")


class Certificates(TestCase):
    """Listeners that ask for certificates."""

    def setUp(self) -> None:
        """Make certificates, and a cluster of one that is not started."""
        self.cluster = Cluster(1)
        self.addCleanup(self.cluster.close)
        (self.node,) = self.cluster.nodes
        folder = self.cluster.folder
        ours, others = create_authority(folder / "ca"), create_authority(folder / "other")
        own = issue_listener(folder / "own", ours, HOST)
        self.alice = issue_client(folder / "alice", ours, "alice@example.org")
        self.mallory = issue_client(folder / "mallory", others, "alice@example.org")
        (self.port,) = free_ports(1)
        asking = f"ssl:{self.port}:privateKey={own.key}:certKey={own.certificate}:clientCA={own.ca}"
        self.node.options = ("--listen", asking)

    def ask(self, request: str, shown: object = None) -> str:
        """Ask over TLS, with a certificate or without; nothing comes back where one is refused."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.alice.ca)
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)  # type: ignore[attr-defined]
        try:
            raw = socket.create_connection((HOST, self.port), PATIENCE_SECONDS)
            with Wrapped(context.wrap_socket(raw)) as link:
                return link.ask(request)
        except (OSError, ConnectionError):
            return ""

    def test_required(self) -> None:
        """Without secrets only certificates of the CA come in, from all interfaces, and write."""
        self.cluster.start()
        self.assertTrue(self.ask("SET /a 1", self.alice).startswith("OK "))
        self.assertTrue(self.ask("SET /ctl/acl x", self.alice).startswith("ERR DENIED"))
        for shown in (None, self.mallory):
            self.assertEqual(self.ask("PING", shown), "")
        with self.node.link() as link:
            rows = link.rows("BLAME /a")
            self.assertRegex(rows[0], r" SET alice@example\.org@127\.0\.0\.1:\d+ ")
            self.assertTrue(link.ask("SET /ctl/acl alice@example.org read /a").startswith("OK "))
        self.assertTrue(self.ask("GET /a", self.alice).startswith("VALUE "))
        self.assertTrue(self.ask("SET /a 2", self.alice).startswith("ERR DENIED"))

    def test_command(self) -> None:
        """The command line comes in with a client's certificate, at the host that it names."""
        self.cluster.start()
        shown = ("--tls-certificate", self.alice.certificate, "--tls-key", self.alice.key)
        for words, status in (((), 3), (shown, 0)):
            given = ("--tls-ca", self.alice.ca, *words, "--request-timeout", 2, "set", "/a", "1")
            command = ("coord.tools.cli", "--server", f"{HOST}:{self.port}", *given)
            ended = subprocess.run(
                [sys.executable, "-m", *map(str, command)],
                env=surroundings(),
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            self.assertEqual(ended.returncode, status, ended.stderr)
        self.assertTrue(self.node.ask("GET /a").startswith("VALUE "))

    def test_with_secrets(self) -> None:
        """With secrets one may come in without a certificate, and show a secret."""
        secrets = self.cluster.folder / "secrets"
        secrets.write_text("s3cret\n")
        self.node.options += ("--write-secret", str(secrets))
        self.cluster.start()
        self.assertTrue(self.ask("SET /a 1", self.alice).startswith("OK "))
        self.assertTrue(self.ask("SET /a 1").startswith("ERR DENIED"))
        self.assertTrue(self.ask("GET /a").startswith("VALUE "))
        self.assertEqual(self.ask("AUTH s3cret"), "OK write")
        self.assertEqual(self.ask("PING", self.mallory), "")


class Reached(TestCase):
    """Listeners without secrets."""

    def setUp(self) -> None:
        """Make a cluster of one that is not started."""
        self.cluster = Cluster(1)
        self.addCleanup(self.cluster.close)
        (self.node,) = self.cluster.nodes

    def test_open(self) -> None:
        """With --open strangers write; who is on the machine itself may do all."""
        host = own_address()
        (port,) = free_ports(1)
        self.node.options = ("--open", "--listen", f"tcp:{port}")
        self.cluster.start()
        for address, answer in ((host, "ERR DENIED"), (HOST, "OK ")):
            with Wrapped(socket.create_connection((address, port), PATIENCE_SECONDS)) as link:
                self.assertTrue(link.ask("SET /a 1").startswith("OK "))
                self.assertTrue(put(link, "/ctl/acl", "").startswith(answer), address)

    def test_unix(self) -> None:
        """A user of this machine may do all over a socket in the file system, and is told of."""
        path = self.cluster.folder / "socket"
        self.node.options = ("--listen", f"unix:{path}")
        self.cluster.start()
        wire = socket.socket(socket.AF_UNIX)
        wire.settimeout(PATIENCE_SECONDS)
        wire.connect(str(path))
        with Wrapped(wire) as link:
            self.assertTrue(put(link, "/ctl/acl", "").startswith("OK "))
            rows = link.rows("BLAME /ctl/acl")
            self.assertIn(f" anonymous@unix:{os.getuid()} ", rows[0])
            self.assertTrue(link.ask("AUTH x").startswith("ERR DENIED"))

    def test_handed_over(self) -> None:
        """A socket of systemd's that others reach is refused like any other, unless --open."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        words = (*twistd("--listen", "systemd:domain=INET:index=0", "--web", "none"),)
        with socket.create_server(("0.0.0.0", 0)) as listener:
            systemd = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=coord"
            start = f"exec 3<&{listener.fileno()}; {systemd} exec "
            ended = subprocess.run(
                ["bash", "-c", start + shlex.join(words)],
                cwd=folder,
                env=surroundings(),
                pass_fds=(listener.fileno(),),
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertRegex(ended.stderr, r"\Acoord: [^\n]*--open[^\n]*\n\Z")
        self.assertEqual([*folder.iterdir()], [])


def own_address() -> str:
    """Return an address of this machine that others might reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            raise SkipTest("this machine has no address but loopback's") from None
        return str(probe.getsockname()[0])
