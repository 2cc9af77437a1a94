"""Who a client is: by where it comes from, by its certificate, by the secrets that it shows."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as some
from OpenSSL import crypto
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Level
from coord.errors import Denied, Overloaded
from coord.frontends import attempts
from coord.frontends.access import Gate
from coord.frontends.attempts import Attempts, source_of
from coord.frontends.secrets import Secrets, SecretsError, parse_secrets, read_secrets

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 4711)
ELSEWHERE = IPv4Address("TCP", "10.0.0.7", 4711)
QUICK = settings(derandomize=True, deadline=None, max_examples=100)


def secrets(**lines: bytes) -> Secrets:
    """Return the secrets of some levels: ``read=b"..."``."""
    return Secrets([one for name in lines for one in parse_secrets(lines[name], level(name))])


def level(name: str) -> Level:
    """Return a level by its word."""
    return Level[name.upper()]


class Files(SynchronousTestCase):
    """Files of secrets."""

    def file(self, content: bytes, mode: int = 0o600) -> Path:
        """Return a new file."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def refusal(self, content: bytes) -> str:
        """Return what is said of a file that is refused; it never tells a secret."""
        error = self.assertRaises(SecretsError, read_secrets, {Level.WRITE: self.file(content)})
        self.assertNotIn("\n", str(error))
        self.assertIn("--write-secret", str(error))
        return str(error)

    def test_form(self) -> None:
        """A secret stands alone or behind its owner's name; comments and empty lines are passed."""
        found = parse_secrets(
            b"# of the batch jobs\n\nalice = correct horse\r\n  s3cret==  \n"
            b"bob =  with = in it\nalice = old one",
            Level.WRITE,
        )
        self.assertEqual([one.name for one in found], ["alice", "write", "bob", "alice"])
        every = Secrets(found)
        for shown, name in (
            (b"correct horse", "alice"),
            (b"old one", "alice"),
            (b"s3cret==", "write"),
            (b"with = in it", "bob"),
        ):
            secret = every.find(shown)
            self.assertEqual(secret.name if secret else None, name)
        for wrong in (b"", b"s3cret", b"correct horse ", b"CORRECT HORSE", b"alice"):
            self.assertIsNone(every.find(wrong))

    def test_refused(self) -> None:
        """What cannot be meant is refused by its line, and no secret is told in that."""
        for content, said in (
            (b"", "holds no secret"),
            (b"# nothing\n\n", "holds no secret"),
            (b"good\nalice=hidden\n", "line 2: write NAME = SECRET"),
            (b"anonymous = hidden\n", "no name"),
            (b"a:b = hidden\n", "no name"),
            (b"\xff = hidden\n", "no name"),
            (b"x" * 70 + b" = hidden\n", "no name"),
            (b"hidden\n" * 2000, "more than"),
            (b"hidden" * 100_000, "too long"),
        ):
            text = self.refusal(content)
            self.assertIn(said, text)
            self.assertNotIn("hidden", text)

    def test_not_there(self) -> None:
        """A file that cannot be read is named."""
        for path in (Path("no/such/file"), Path(self.mktemp()).parent):
            error = self.assertRaises(SecretsError, read_secrets, {Level.READ: path})
            self.assertIn(f"--read-secret {path}: it cannot be read", str(error))

    def test_one_secret_twice(self) -> None:
        """The same secret at two places is refused: nobody could tell who shows it."""
        for write, admin in ((b"same", b"same"), (b"a = same", b"b = same"), (b"x\nx", b"y")):
            files = {Level.WRITE: self.file(write), Level.ADMIN: self.file(admin)}
            error = self.assertRaises(SecretsError, read_secrets, files)
            self.assertIn("one and the same secret", str(error))
            self.assertNotIn("same =", str(error))

    def test_one_name_twice(self) -> None:
        """A name stands for one level, or rules would mean two people by it."""
        files = {Level.READ: self.file(b"bob = 1"), Level.ADMIN: self.file(b"bob = 2")}
        self.assertIn("two levels", str(self.assertRaises(SecretsError, read_secrets, files)))

    def test_readable_by_others(self) -> None:
        """A file that others can read is taken, with a line in the log that says what to do."""
        for mode, lines in ((0o600, 0), (0o640, 1), (0o604, 1)):
            with capturedLogs() as captured:
                read_secrets({Level.READ: self.file(b"x", mode)})
            told = [formatEvent(one) for one in captured if one["log_level"] is LogLevel.warn]
            self.assertEqual(len(told), lines)
            self.assertTrue(all("chmod 600" in line for line in told))

    def test_kept_as_hashes(self) -> None:
        """Nothing that is kept holds a secret itself, or shows its hash."""
        kept = secrets(read=b"hidden")
        self.assertNotIn("hidden", repr(vars(kept)))
        self.assertNotIn(repr(hashlib.sha256(b"hidden").digest()), repr(vars(kept)))

    def test_constant_time(self) -> None:
        """What is shown is compared with every secret, also after it was found."""
        compared: list[bytes] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append(one)
            return one == other

        every = secrets(write=b"a\nb\nc", admin=b"d")
        self.patch(hmac, "compare_digest", compare)
        for shown in (b"a", b"d", b"?"):
            every.find(shown)
        self.assertEqual(len(compared), 3 * 4)

    @QUICK
    @given(some.binary(max_size=200))
    def test_junk(self, content: bytes) -> None:
        """Whatever stands in a file, the answer is secrets or a line."""
        try:
            found = parse_secrets(content, Level.READ)
        except SecretsError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertTrue(found)


class Strangers(SynchronousTestCase):
    """Who shows nothing."""

    def test_levels(self) -> None:
        """What a stranger may do hangs on which secrets there are, and without any on where."""
        for kept, here, elsewhere in (
            (secrets(), Level.ADMIN, Level.WRITE),
            (secrets(read=b"r"), Level.NONE, Level.NONE),
            (secrets(read=b"r", admin=b"a"), Level.NONE, Level.NONE),
            (secrets(write=b"w"), Level.READ, Level.READ),
            (secrets(write=b"w", admin=b"a"), Level.READ, Level.READ),
            (secrets(admin=b"a"), Level.WRITE, Level.WRITE),
        ):
            gate = Gate(Clock(), kept)
            for address, wanted in (
                (LOOPBACK, here),
                (IPv6Address("TCP", "::1", 1), here),
                (IPv6Address("TCP", "::ffff:127.0.0.1", 1), here),
                (UNIXAddress("/run/coord"), here),
                (UNIXAddress(None), here),
                (ELSEWHERE, elsewhere),
                (IPv6Address("TCP", "2001:db8::1", 1), elsewhere),
                (HostnameAddress(b"localhost", 1), elsewhere),
            ):
                caller = gate.stranger(address)
                self.assertEqual((caller.who, caller.level), ("anonymous", wanted), address)
                self.assertEqual(caller.session, "")

    def test_described(self) -> None:
        """The log tells at the start what it takes to come in."""
        for kept, told in (
            (secrets(), "no secrets: clients on this machine may do all, others write"),
            (secrets(read=b"r", admin=b"a\nb"), "3 secrets: who shows none may do nothing"),
            (secrets(admin=b"a"), "1 secrets: who shows none may write"),
        ):
            self.assertEqual(Gate(Clock(), kept).describe(), told)

    def test_addresses(self) -> None:
        """Where a client is, is told with its port; of a socket of files, that it is one."""
        for address, told in (
            (LOOPBACK, "127.0.0.1:4711"),
            (IPv6Address("TCP", "fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
            (UNIXAddress(b"/run/a b\n"), "unix"),
        ):
            caller = Gate(Clock(), Secrets()).caller(StringTransport(peerAddress=address))
            self.assertEqual(caller.address, told)


class Certificates(SynchronousTestCase):
    """Clients with a certificate."""

    def caller(self, *names: str, address: IAddress = ELSEWHERE) -> Caller:
        """Return who a client is whose certificate has these common names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        wire = Encrypted(peerAddress=address)
        wire.certificate = crypto.X509.from_cryptography(certificate)
        return Gate(Clock(), secrets(read=b"r")).caller(wire)

    def test_name(self) -> None:
        """A client is who its certificate says, and may write; rules may say otherwise."""
        self.assertEqual(self.caller("alice"), Caller("alice", "10.0.0.7:4711", Level.WRITE))

    def test_names(self) -> None:
        """A name is told as it is: whoever writes it into a line sees to it."""
        for name in (
            "web-1.example.org",
            "alice@example.org",
            "Alice \u00c4.",
            "a\nb",
            "#x",
            "%20",
        ):
            self.assertEqual(self.caller(name).who, name)

    def test_nobody(self) -> None:
        """A certificate without a name of its own may do nothing; none is a visitor by SSH."""
        for names in ((), ("a", "b"), ("anonymous",), ("*",), ("console:alice",)):
            with capturedLogs() as captured:
                caller = self.caller(*names)
            self.assertEqual((caller.who, caller.level), ("anonymous", Level.NONE))
            self.assertIn("names nobody", formatEvent(captured[0]))

    def test_none(self) -> None:
        """Who shows no certificate where one may be shown is a stranger."""
        caller = Gate(Clock(), secrets(write=b"w")).caller(Encrypted(peerAddress=ELSEWHERE))
        self.assertEqual((caller.who, caller.level), ("anonymous", Level.READ))


class Encrypted(StringTransport):
    """A transport with TLS below it."""

    certificate: crypto.X509 | None = None

    def getPeerCertificate(self) -> crypto.X509 | None:
        """Return what the client has shown."""
        return self.certificate


class Showing(SynchronousTestCase):
    """Secrets that are shown."""

    def setUp(self) -> None:
        """Make a gate."""
        self.clock = Clock()
        self.gate = Gate(self.clock, secrets(read=b"r", write=b"eve = w\nw2", admin=b"a"))

    def show(self, secret: bytes, address: IAddress = LOOPBACK) -> Deferred[Caller]:
        """Show a secret."""
        return self.gate.auth(self.gate.stranger(address), secret)

    def shown(self, secret: bytes, address: IAddress = LOOPBACK) -> Caller:
        """Show a secret that is one; return who one is by it, at once."""
        return self.successResultOf(self.show(secret, address))

    def wrong(self, count: int, address: IAddress = LOOPBACK) -> list[Deferred[Caller]]:
        """Show so many wrong secrets."""
        return [self.show(b"wrong", address) for _ in range(count)]

    def fail_often(self, count: int, address: IAddress = LOOPBACK) -> None:
        """Show so many wrong secrets, whatever they are answered."""
        for shown in self.wrong(count, address):
            shown.addErrback(lambda _: None)

    def test_right(self) -> None:
        """By a secret one is who it names, at its level, from where one is."""
        for secret, who, right in (
            (b"r", "read", Level.READ),
            (b"w", "eve", Level.WRITE),
            (b"w2", "write", Level.WRITE),
            (b"a", "admin", Level.ADMIN),
        ):
            self.assertEqual(self.shown(secret), Caller(who, "127.0.0.1:4711", right))

    def test_wrong(self) -> None:
        """A wrong secret is denied, and the log tells from where, but not what was shown."""
        with capturedLogs() as captured:
            failure = self.failureResultOf(self.show(b"hidden", ELSEWHERE), Denied)
        self.assertNotIn("hidden", str(failure.value))
        (line,) = [formatEvent(one) for one in captured]
        self.assertIn("10.0.0.7:4711", line)
        self.assertNotIn("hidden", line)

    def test_none(self) -> None:
        """A node without secrets says so."""
        gate = Gate(self.clock, Secrets())
        shown = gate.auth(gate.stranger(LOOPBACK), b"x")
        self.assertIn("no secrets", str(self.failureResultOf(shown, Denied).value))

    def test_slower(self) -> None:
        """Each failure makes the next attempt from there wait longer, the right one, too."""
        waits = []
        for _ in range(9):
            self.failureResultOf(self.wrong(1)[0])
            before = self.clock.seconds()
            shown = self.show(b"a")
            while not shown.called:
                self.clock.advance(0.05)
            waits.append(round(self.clock.seconds() - before, 1))
            self.assertEqual(self.successResultOf(shown).who, "admin")
        self.assertEqual(waits[:3], [0.1, 0.2, 0.4])
        self.assertEqual(waits, sorted(waits))
        self.assertEqual(waits[-1], attempts.DELAY_SECONDS_MAX)

    def test_one_after_the_other(self) -> None:
        """Attempts on many connections of one address wait for each other, in order."""
        shown = self.wrong(4)
        ended: list[int] = []
        for number, one in enumerate(shown):
            one.addErrback(lambda _, number: ended.append(number), number)
        self.assertEqual(ended, [0])
        for seconds, told in ((0.1, 2), (0.1, 2), (0.1, 3), (0.3, 3), (0.1, 4)):
            self.clock.advance(seconds)
            self.assertEqual(ended, [*range(told)])

    def test_others(self) -> None:
        """Who is somewhere else does not wait; who has the same network of IPv6 does."""
        self.fail_often(3)
        self.shown(b"r", ELSEWHERE)
        self.shown(b"r", UNIXAddress(None))
        self.fail_often(3, IPv6Address("TCP", "2001:db8::1", 1))
        self.assertNoResult(self.show(b"r", IPv6Address("TCP", "2001:db8::ffff", 1)))
        self.shown(b"r", IPv6Address("TCP", "2001:db8:0:1::1", 1))

    def test_success_forgives_nothing(self) -> None:
        """Who has one secret cannot try for another at full speed by showing it in between."""
        self.fail_often(5)
        self.clock.advance(10)
        self.shown(b"r")
        self.fail_often(1)
        self.assertNoResult(self.show(b"r"))

    def test_forgotten(self) -> None:
        """After a minute without failures an address is as good as new."""
        self.fail_often(6)
        self.clock.advance(10 + attempts.FORGOTTEN_SECONDS)
        self.fail_often(1)
        late = self.show(b"r")
        self.clock.advance(attempts.DELAY_SECONDS)
        self.assertEqual(self.successResultOf(late).who, "read")

    def test_too_many(self) -> None:
        """Where too many wait already, a secret is not looked at, right or wrong."""
        shown = self.wrong(40)
        self.failureResultOf(self.show(b"a"), Overloaded)
        self.clock.advance(2 * attempts.WAIT_SECONDS_MAX)
        kinds = [self.failureResultOf(one).type for one in shown]
        self.assertEqual({*kinds}, {Denied, Overloaded})
        self.assertLess(kinds.count(Denied), 20)
        self.assertEqual(self.shown(b"a").who, "admin")

    def test_gone(self) -> None:
        """A connection that goes while it waits is told nothing, and its failure counts."""
        self.fail_often(1)
        (late,) = self.wrong(1)
        late.cancel()
        self.failureResultOf(late, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(self.show(b"a"))


class Table(SynchronousTestCase):
    """What is known of addresses."""

    def test_bounded(self) -> None:
        """However many addresses fail, so many are known; the latest of them."""
        known = Attempts(Clock())
        for number in range(attempts.ADDRESSES_MAX + 10):
            known.failed(f"10.0.{number // 256}.{number % 256}")
        self.assertEqual(len(known), attempts.ADDRESSES_MAX)
        self.assertEqual(known.wait_seconds("10.0.0.0"), 0.0)
        self.assertGreater(known.wait_seconds("10.0.16.9"), 0.0)

    def test_sources(self) -> None:
        """An address of IPv4 is one source, a network of IPv6 is, and a user of this machine."""
        for place, source in (
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
            ("[2001:db8::5]:80", "2001:db8::/64"),
            ("[fe80::1%eth0]:80", "fe80::/64"),
            ("unix", "unix"),
            ("unix:1000", "unix:1000"),
            ("localhost:1", "localhost:1"),
        ):
            self.assertEqual(source_of(place), source)
