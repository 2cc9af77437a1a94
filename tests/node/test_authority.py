"""Tests of `coord.node.authority`."""

from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from coord.node.authority import (
    AuthorityError,
    create_authority,
    issue,
    issue_client,
    issue_listener,
    load_authority,
)
from coord.peers.identity import CredentialsError, Identity


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


class AuthorityTests(SynchronousTestCase):
    """A private CA for one cluster."""

    def setUp(self) -> None:
        """Make a CA."""
        self.place = Path(self.mktemp())
        self.authority = create_authority(self.place / "ca")

    def certificate(self, name: str = "n1") -> x509.Certificate:
        """Issue a certificate and read it."""
        credentials = issue(self.place / name, self.authority, name)
        return x509.load_pem_x509_certificate(credentials.certificate.read_bytes())

    def test_taken_up_again(self) -> None:
        """A CA that was kept can issue certificates later."""
        again = load_authority(self.place / "ca")
        self.assertEqual(again.pem, self.authority.pem)
        issue(self.place / "n1", again, "n1")

    def test_never_replaced(self) -> None:
        """A second CA in the same place is refused: certificates hang on the first."""
        error = self.assertRaises(AuthorityError, create_authority, self.place / "ca")
        self.assertIn("has a CA already", str(error))

    def test_a_node_is_who_its_certificate_says(self) -> None:
        """What was issued is what a node needs, and holds its name and nobody else's."""
        for name in ("n1", "n2"):
            credentials = issue(self.place / name, self.authority, name)
            self.assertEqual(Identity.load(credentials, name).node, name)
        names = self.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(list(names.value), [x509.DNSName("n1")])

    def test_keys_are_secret(self) -> None:
        """Keys can be read by their owner alone, certificates by everyone."""
        credentials = issue(self.place / "n1", self.authority, "n1")
        self.assertEqual(mode(credentials.key), 0o600)
        self.assertEqual(mode(self.place / "ca" / "ca.key"), 0o600)
        self.assertEqual(mode(credentials.certificate), 0o644)
        self.assertEqual(
            sorted(path.name for path in (self.place / "n1").iterdir()),
            ["ca.pem", "node.key", "node.pem"],
        )

    def test_both_uses(self) -> None:
        """A node's certificate serves to dial and to listen, and signs no other certificate."""
        certificate = self.certificate()
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(
            set(uses), {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        )
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        self.assertFalse(basic.ca)

    def test_small_keys(self) -> None:
        """Keys are ECDSA P-256."""
        key = self.certificate().public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual(key.curve.name, "secp256r1")

    def test_validity(self) -> None:
        """A certificate is valid from a little before now, for years, never beyond its CA."""
        certificate = self.certificate()
        now = datetime.now(UTC)
        self.assertLess(certificate.not_valid_before_utc, now - timedelta(minutes=30))
        self.assertGreater(certificate.not_valid_after_utc, now + timedelta(days=1800))
        endless = issue(self.place / "n2", self.authority, "n2", valid=timedelta(days=9999))
        longest = x509.load_pem_x509_certificate(endless.certificate.read_bytes())
        self.assertEqual(
            longest.not_valid_after_utc, self.authority.certificate.not_valid_after_utc
        )

    def test_renewed(self) -> None:
        """A node gets a new key and certificate in the place of its old ones."""
        first, second = self.certificate(), self.certificate()
        self.assertNotEqual(first.serial_number, second.serial_number)
        self.assertNotEqual(first.public_key(), second.public_key())

    def test_names(self) -> None:
        """A name that no node may have gets no certificate, and leaves no file."""
        for name in ("", "N1", "n.1", "*", "a_b", "12", "x" * 64, "-a", "a-", "a\n", "../up"):
            self.assertRaises(AuthorityError, issue, self.place / "bad", self.authority, name)
        self.assertFalse((self.place / "bad").exists())

    def test_clients(self) -> None:
        """A client's certificate holds its name where no node's name is looked for."""
        for name in ("alice", "Alice@example.org", "web-1.example.org", "n1", "17"):
            credentials = issue_client(self.place / name, self.authority, name)
            content = credentials.certificate.read_bytes()
            certificate = x509.load_pem_x509_certificate(content)
            self.assertEqual(certificate.subject.rfc4514_string(), f"CN={name}")
            self.assertEqual(mode(credentials.key), 0o600)
            uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(list(uses), [ExtendedKeyUsageOID.CLIENT_AUTH])
            self.assertRaises(
                x509.ExtensionNotFound,
                certificate.extensions.get_extension_for_class,
                x509.SubjectAlternativeName,
            )
            self.assertRaises(CredentialsError, Identity.load, credentials, "n1")

    def test_listeners(self) -> None:
        """What a node shows to clients holds its host, and is good for nothing but listening."""
        for host, name in (
            ("10.0.0.1", x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
            ("::1", x509.IPAddress(ipaddress.ip_address("::1"))),
            ("a.example.org", x509.DNSName("a.example.org")),
            (f"{'x' * 60}.example.org", x509.DNSName(f"{'x' * 60}.example.org")),
        ):
            credentials = issue_listener(self.place / "n1", self.authority, host)
            content = credentials.certificate.read_bytes()
            extensions = x509.load_pem_x509_certificate(content).extensions
            names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self.assertEqual(list(names), [name])
            uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(list(uses), [ExtendedKeyUsageOID.SERVER_AUTH])
            self.assertEqual(mode(credentials.key), 0o600)
            self.assertRaises(CredentialsError, Identity.load, credentials, "n1")

    def test_names_of_clients(self) -> None:
        """A name that no client may have gets no certificate, and leaves no file."""
        for name in ("", "anonymous", "a b", "*", "../up", "console:a", "x" * 65, "a\n", ".a"):
            self.assertRaises(
                AuthorityError, issue_client, self.place / "bad", self.authority, name
            )
        self.assertFalse((self.place / "bad").exists())

    def test_no_authority(self) -> None:
        """Where there is no CA, or its two files do not fit, one line says so."""
        nowhere = self.assertRaises(AuthorityError, load_authority, self.place / "nowhere")
        self.assertIn("No such file", str(nowhere))
        create_authority(self.place / "other")
        (self.place / "other" / "ca.key").replace(self.place / "ca" / "ca.key")
        mixed = self.assertRaises(AuthorityError, load_authority, self.place / "ca")
        self.assertIn("is not the key of", str(mixed))
        (self.place / "ca" / "ca.pem").write_bytes(b"junk")
        junk = self.assertRaises(AuthorityError, load_authority, self.place / "ca")
        self.assertIn("holds no CA", str(junk))

    def test_key_is_not_shown(self) -> None:
        """A CA that is printed does not show its key."""
        self.assertNotIn("PrivateKey", repr(self.authority))
