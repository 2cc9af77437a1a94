"""Tests of `coord.peers.identity`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as some
from service_identity.hazmat import DNS_ID
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from coord.names import valid_node_name
from coord.node.authority import create_authority, issue
from coord.peers import identity
from coord.peers.identity import Credentials, CredentialsError, Identity


class NodeNameTests(SynchronousTestCase):
    """What a node may be called."""

    @settings(derandomize=True, deadline=None)
    @given(some.text(alphabet="abz059-", min_size=1, max_size=63))
    def test_every_good_name_can_be_verified(self, name: str) -> None:
        """Whatever is good as a name, service-identity takes as it stands."""
        if valid_node_name(name):
            self.assertEqual(DNS_ID(name).hostname, name.encode())


class CredentialsTests(SynchronousTestCase):
    """Files that do not fit are refused with a line that says what is wrong."""

    def setUp(self) -> None:
        """Issue a certificate."""
        self.place = Path(self.mktemp())
        self.authority = create_authority(self.place / "ca")
        self.good = issue(self.place / "n1", self.authority, "n1")

    def refusal(self, credentials: Credentials, node: str = "n1") -> str:
        """Return what is said of credentials."""
        error = self.assertRaises(CredentialsError, Identity.load, credentials, node)
        text = str(error)
        self.assertNotIn("\n", text)
        return text

    def later(self, **by: float) -> None:
        """Let it be later, for whoever loads credentials."""
        moment = datetime.now(UTC) + timedelta(**by)
        self.patch(identity, "_now", lambda: moment)

    def signed(self, builder: x509.CertificateBuilder) -> Credentials:
        """Return credentials with a certificate of the CA that a test made up."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            builder.subject_name(x509.Name([]))
            .issuer_name(self.authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=99))
            .sign(self.authority.key, hashes.SHA256())
        )
        self.good.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.good.key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return self.good

    def test_good(self) -> None:
        """Credentials that fit are taken, and nothing is said."""
        with capturedLogs() as events:
            self.assertEqual(Identity.load(self.good, "n1").node, "n1")
        self.assertEqual(events, [])

    def test_missing_file(self) -> None:
        """A file that cannot be read is named."""
        for part in ("ca", "certificate", "key"):
            nowhere = self.place / "nowhere.pem"
            text = self.refusal(attrs.evolve(self.good, **{part: nowhere}))
            self.assertEqual(text, f"cannot read {nowhere}: No such file or directory")

    def test_junk(self) -> None:
        """A file that holds something else is named."""
        junk = self.place / "junk"
        for content in (
            b"",
            b"junk",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        ):
            junk.write_bytes(content)
            for part in ("ca", "certificate"):
                text = self.refusal(attrs.evolve(self.good, **{part: junk}))
                self.assertIn(f"{junk} is not a certificate in PEM", text)
            text = self.refusal(attrs.evolve(self.good, key=junk))
            self.assertIn(f"{junk} is not a key in PEM", text)

    def test_key_with_a_password(self) -> None:
        """A key that wants a password is refused: nobody is there to type it."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.good.key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        )
        self.assertIn("without a password", self.refusal(self.good))

    def test_other_kind_of_key(self) -> None:
        """A key of a kind that not every peer can verify is refused."""
        self.good.key.write_bytes(
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        self.assertIn("is not an ECDSA or RSA key", self.refusal(self.good))

    def test_key_of_another_certificate(self) -> None:
        """A key and a certificate that were not made together are refused."""
        other = issue(self.place / "n2", self.authority, "n2")
        text = self.refusal(attrs.evolve(self.good, key=other.key))
        self.assertIn(f"{other.key} is not the key of {self.good.certificate}", text)

    def test_certificate_of_another_node(self) -> None:
        """A node does not start with the certificate of another one."""
        text = self.refusal(self.good, "n2")
        self.assertIn("is the certificate of n1, not of n2", text)

    def test_certificate_without_a_name(self) -> None:
        """A certificate that names nobody is nobody's."""
        text = self.refusal(self.signed(x509.CertificateBuilder()))
        self.assertIn("is the certificate of nobody, not of n1", text)

    def test_certificate_for_servers_only(self) -> None:
        """A certificate that may only be used to listen is refused."""
        builder = (
            x509.CertificateBuilder()
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("n1")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        self.assertIn("both to dial and to listen", self.refusal(self.signed(builder)))

    def test_certificate_for_any_use(self) -> None:
        """A certificate that says nothing of its use may be used for all."""
        builder = x509.CertificateBuilder().add_extension(
            x509.SubjectAlternativeName([x509.DNSName("n1")]), critical=False
        )
        self.assertEqual(Identity.load(self.signed(builder), "n1").node, "n1")

    def test_expired(self) -> None:
        """A certificate that has expired is refused, with its date."""
        self.later(days=1900)
        text = self.refusal(self.good)
        self.assertIn("node.pem expired on 20", text)

    def test_not_yet_valid(self) -> None:
        """A certificate that is not valid yet means that a clock is wrong."""
        self.later(days=-1)
        self.assertIn("is not valid yet: set this machine's clock", self.refusal(self.good))

    def test_expires_soon(self) -> None:
        """A certificate that expires within a month is taken, and the log says so."""
        self.later(days=1826 - 10)
        with capturedLogs() as events:
            Identity.load(self.good, "n1")
        (event,) = events
        self.assertIs(event["log_level"], LogLevel.warn)
        self.assertIn("node.pem expires in 9 days", formatEvent(event))

    def test_other_authority(self) -> None:
        """A certificate of another CA than the one given is refused."""
        other = create_authority(self.place / "other")
        self.good.ca.write_bytes(other.pem)
        text = self.refusal(self.good)
        self.assertIn("is not signed by", text)
        self.assertIn("give the CA that issued it", text)

    def test_two_authorities(self) -> None:
        """While a cluster moves from one CA to another, a file may hold both."""
        other = create_authority(self.place / "other")
        self.good.ca.write_bytes(other.pem + self.good.ca.read_bytes())
        self.assertEqual(Identity.load(self.good, "n1").node, "n1")

    def test_bad_name(self) -> None:
        """A node whose name no certificate can hold is refused."""
        self.assertIn("'Node_1' cannot stand in a certificate", self.refusal(self.good, "Node_1"))

    def test_open_key(self) -> None:
        """A key that others can read is taken, and the log says so."""
        self.good.key.chmod(0o644)
        with capturedLogs() as events:
            Identity.load(self.good, "n1")
        self.assertEqual(len(events), 1)
        self.assertIn("node.key can be read by others", formatEvent(events[0]))
