"""What a node may be told, and what it is told when that is wrong."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from coord.node.options import OPTIONS, Kind, Option
from coord.node.settings import (
    NO_PEERS,
    Refused,
    Settings,
    is_local,
    is_loopback,
    parse,
    parse_member,
    read_toml,
    split_endpoint,
)

TLS = {"ca": "ca.pem", "certificate": "n1.pem", "key": "n1.key"}
VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(),
    strategies.lists,
    max_leaves=4,
)
QUICK = settings(derandomize=True, deadline=None, max_examples=100)


class Defaults(SynchronousTestCase):
    """A node that was told nothing."""

    def test_alone(self) -> None:
        """A node that is told nothing is a whole store, seen from this machine only."""
        alone = parse({})
        self.assertEqual(alone, Settings())
        self.assertEqual(alone.listen, ("tcp:8046:interface=127.0.0.1",))
        self.assertEqual(alone.web, "tcp:8056:interface=127.0.0.1")
        self.assertEqual(alone.data, Path("coord-data"))
        self.assertEqual(alone.peers, (("n1", NO_PEERS),))

    def test_no_web(self) -> None:
        """The web page can be left out."""
        self.assertIsNone(parse({"web": "none"}).web)

    def test_every_option_is_read(self) -> None:
        """Every option of this version changes the settings when it is given."""
        others = {
            "peer-listen": "tcp:1:interface=127.0.0.1",
            "console": "tcp:2",
            "authorized-keys": "k",
            "peer": ["n2=127.0.0.1:2"],
            **TLS,
        }
        values: dict[str, object] = {
            "node": "n7",
            "cluster": "prod",
            "data": "elsewhere",
            "listen": ["unix:socket"],
            "peer": ["n3=10.0.0.1:1"],
            "join": True,
            "observer": True,
            "web": "none",
            "console-readers": "r",
            "read-secret": "r",
            "write-secret": "w",
            "admin-secret": "a",
            "open": True,
            "no-leases": True,
            "lease": "0.7",
            "request-timeout": "9",
            "history-revisions": "5",
            "log-bytes-kept": "2000000",
            "image-every-bytes": "2000000",
            "line-bytes-max": "20000",
            "value-bytes-max": "100",
            "connections-max": "3",
        }
        self.assertEqual(
            {one.name for one in OPTIONS if not one.later}, values.keys() | others.keys()
        )
        before = parse(others)
        for name, value in values.items():
            self.assertNotEqual(parse({**others, name: value}), before, name)


class Cluster(SynchronousTestCase):
    """A node among others."""

    def test_members(self) -> None:
        """The nodes named are kept by name with the address at which each is reached."""
        told = parse(
            {
                "node": "n2",
                "peer-listen": "tcp:8077",
                "peer": ["n3=c.example:8076", "n1=10.0.0.1:8076", "n2=[::1]:8077"],
                **TLS,
            }
        )
        self.assertEqual(
            told.peers, (("n1", "10.0.0.1:8076"), ("n2", "[::1]:8077"), ("n3", "c.example:8076"))
        )

    def test_left_itself_out(self) -> None:
        """A node that its own list leaves out is reached where it listens."""
        for endpoint, address in (
            ("tcp:8077:interface=10.0.0.2", "10.0.0.2:8077"),
            (r"tcp6:8077:interface=\:\:1", "[::1]:8077"),
            ("tcp:8077", "localhost:8077"),
        ):
            told = parse({"peer-listen": endpoint, "peer": ["n2=10.0.0.1:1"], **TLS})
            self.assertEqual(dict(told.peers)["n1"], address)

    def test_joining(self) -> None:
        """A node that joins names some of the others, and counts as one that is let in."""
        for option in ("join", "observer"):
            told = parse(
                {
                    "node": "n4",
                    option: True,
                    "peer-listen": "tcp:8077:interface=10.0.0.4",
                    "peer": ["n1=10.0.0.1:8076", "n2=10.0.0.2:8076"],
                    **TLS,
                }
            )
            self.assertTrue(told.is_joining)
            self.assertEqual(
                told.peers,
                (("n1", "10.0.0.1:8076"), ("n2", "10.0.0.2:8076"), ("n4", "10.0.0.4:8077")),
            )
        self.assertFalse(Settings().is_joining)

    def test_joining_nobody(self) -> None:
        """A node that joins has to say whom, and an observer where it is reached itself."""
        for listen, peers, said in (
            ("tcp:1:interface=10.0.0.4", [], "wants --peer NAME=HOST:PORT of some nodes"),
            ("tcp:1", ["n2=10.0.0.2:2"], "wants --peer n1=HOST:PORT, too"),
            ("tcp:1:interface=0.0.0.0", ["n2=10.0.0.2:2"], "wants --peer n1=HOST:PORT, too"),
            ("unix:socket", ["n2=10.0.0.2:2"], "wants --peer n1=HOST:PORT, too"),
        ):
            words = {"observer": True, "peer-listen": listen, "peer": peers, **TLS}
            self.assertIn(said, str(self.assertRaises(Refused, parse, words)))
        for listen, peers in (
            ("tcp:1", ["n2=localhost:2"]),
            ("tcp:1", ["n1=a.example:1", "n2=b.example:2"]),
        ):
            parse({"observer": True, "peer-listen": listen, "peer": peers, **TLS})

    def test_incomplete(self) -> None:
        """Peers without a listener, or a listener without certificates, are refused."""
        for given_, said in (
            ({"peer": ["n2=h:1"]}, "--peer-listen"),
            ({"peer-listen": "tcp:1", "ca": "x", "key": "y"}, "--certificate"),
            ({"ca": "x"}, "--peer-listen"),
            ({"peer": ["n2=h:1", "n2=h:2"]}, "twice"),
        ):
            self.assertIn(said, str(self.assertRaises(Refused, parse, given_)))

    def test_bad_members(self) -> None:
        """What is not NAME=HOST:PORT is refused, and the line shows how it is written."""
        for text in ("", "n1", "n1=", "n1=host", "n1=host:0", "n1=host:65536", "=h:1", "a b=h:1"):
            error = self.assertRaises(Refused, parse_member, text)
            self.assertNotIn("\n", str(error))


class Console(SynchronousTestCase):
    """Where the console is, and whose keys open it."""

    def test_loopback(self) -> None:
        """A console is on loopback unless its endpoint names an interface; it needs no --open."""
        for written, told in (
            ("tcp:1", "tcp:1:interface=127.0.0.1"),
            ("tcp6:1", r"tcp6:1:interface=\:\:1"),
            ("tcp:1:interface=10.0.0.1", "tcp:1:interface=10.0.0.1"),
            ("unix:/run/c", "unix:/run/c"),
        ):
            settings = parse({"console": written, "authorized-keys": "k"})
            self.assertEqual(settings.console, told)
        self.assertIsNone(parse({"console": "none"}).console)

    def test_keys(self) -> None:
        """A console wants keys of one kind or the other, and keys want a console."""
        self.assertIn("--authorized-keys", str(self.assertRaises(Refused, parse, {"console": "x"})))
        self.assertIn("--console", str(self.assertRaises(Refused, parse, {"console-readers": "r"})))
        parse({"console": "tcp:1", "console-readers": "r"})


class Exposure(SynchronousTestCase):
    """Who can reach a listener."""

    def test_elsewhere(self) -> None:
        """A listener that others can reach is refused until --open says that it is meant."""
        for name, value in (
            ("listen", ["tcp:8046"]),
            ("listen", ["tcp:8046:interface=10.0.0.1"]),
            ("listen", ["tcp:1:interface=127.0.0.1", "ssl:8046:privateKey=k"]),
            ("web", "tcp:80"),
        ):
            error = self.assertRaises(Refused, parse, {name: value})
            self.assertIn("--open", str(error))
            self.assertIn("--read-secret", str(error))
            parse({name: value, "open": True})
            for option in ("read-secret", "write-secret", "admin-secret"):
                parse({name: value, option: "file"})

    def test_certificates(self) -> None:
        """A listener that asks for certificates may be reached; one beside it, or a page, not."""
        asking = "ssl:8046:privateKey=k:clientCA=ca.pem"
        parse({"listen": [asking]})
        for name, value in (("listen", [asking, "tcp:1"]), ("web", asking)):
            self.assertIn(f"--{name}", str(self.assertRaises(Refused, parse, {name: value})))
        self.assertRaises(Refused, parse, {"listen": ["tcp:1:clientCA=ca.pem"]})

    def test_here(self) -> None:
        """Loopback of either kind and sockets in the file system are this machine's own."""
        for endpoint in (
            "tcp:8046:interface=127.0.0.1",
            "tcp:8046:interface=localhost",
            r"tcp6:8046:interface=\:\:1",
            "unix:/run/coord",
        ):
            self.assertTrue(is_local(endpoint), endpoint)
        self.assertFalse(is_loopback("127.example.org"))


class Values(SynchronousTestCase):
    """What an option takes."""

    def test_refused(self) -> None:
        """A value of the wrong kind or out of bounds is refused in one line that names it."""
        for name, value in (
            ("node", ""),
            ("node", "a/b"),
            ("node", "x" * 64),
            ("cluster", "two words"),
            ("data", 7),
            ("data", "a\nb"),
            ("listen", 7),
            ("listen", [7]),
            ("open", "yes"),
            ("lease", "soon"),
            ("lease", "0.1"),
            ("lease", float("nan")),
            ("request-timeout", "1e9"),
            ("history-revisions", "0"),
            ("history-revisions", 1.5),
            ("connections-max", True),
            ("value-bytes-max", str(3 << 20)),
            ("line-bytes-max", "100"),
        ):
            error = self.assertRaises(Refused, parse, {name: value})
            self.assertNotIn("\n", str(error))
            self.assertIn(name, str(error))

    def test_later(self) -> None:
        """What this version cannot do is refused and not passed over."""
        later = [option for option in OPTIONS if option.later]
        self.assertTrue(later)
        for option in later:
            value: object = True if option.kind is Kind.FLAG else "x"
            error = self.assertRaises(Refused, parse, {option.name: value})
            self.assertIn(f"--{option.name} is not in this version", str(error))

    @QUICK
    @given(strategies.sampled_from(OPTIONS), VALUES)
    def test_junk(self, option: Option, value: object) -> None:
        """Whatever stands in a file, the answer is settings or one line."""
        try:
            parse({option.name: value})
        except Refused as error:
            self.assertNotIn("\n", str(error))

    @QUICK
    @given(strategies.text(alphabet="tcp:\\=8046interface.[]", max_size=30))
    def test_endpoint_junk(self, text: str) -> None:
        """An endpoint that makes no sense is no reason to crash."""
        kind, _, _ = split_endpoint(text)
        self.assertIsInstance(kind, str)


class Toml(SynchronousTestCase):
    """The file given by --config."""

    def file(self, text: str) -> Path:
        """Return a new file that holds ``text``."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return path

    def test_whole(self) -> None:
        """Numbers, flags and arrays are written as TOML has them."""
        path = self.file(
            'node = "n2"\nlisten = ["unix:a", "unix:b"]\nno-leases = true\nlease = 1\n'
            "history-revisions = 12\n"
        )
        told = parse(read_toml(path))
        self.assertEqual(told.node, "n2")
        self.assertEqual(told.listen, ("unix:a", "unix:b"))
        self.assertFalse(told.leases)
        self.assertEqual(told.lease_seconds, 1.0)
        self.assertEqual(told.history_revisions, 12)

    def test_relative(self) -> None:
        """A relative path in a file is relative to the file, an absolute one is itself."""
        path = self.file('data = "d"\n')
        self.assertEqual(parse(read_toml(path)).data, path.absolute().parent / "d")
        self.assertEqual(parse(read_toml(self.file('data = "/d"\n'))).data, Path("/d"))

    def test_unknown_key(self) -> None:
        """A key that no option has is refused by name."""
        error = self.assertRaises(Refused, read_toml, self.file("lisden = 1\n"))
        self.assertIn("'lisden'", str(error))

    def test_not_toml(self) -> None:
        """A file that is no TOML, or is not there, is refused by name."""
        for path in (self.file("node = \n"), Path("no/such/file")):
            error = self.assertRaises(Refused, read_toml, path)
            self.assertIn(str(path), str(error))
