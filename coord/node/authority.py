"""A private CA for one cluster: its key, and keys and certificates for nodes and clients.

Used by ``coord init``, ``bin/demo`` and the tests. Whoever can read the CA's key can be any
node: it is needed only to issue certificates, and belongs on none of the nodes.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coord.frontends.gate import ANONYMOUS
from coord.names import valid_node_name
from coord.peers.identity import Credentials

AUTHORITY_VALID: Final = timedelta(days=3652)
"""Ten years: replacing a CA means touching every node."""
NODE_VALID: Final = timedelta(days=1826)
"""Five years: longer than most machines, and a node warns of the last thirty days."""
BACKDATED: Final = timedelta(hours=1)
"""Certificates begin to be valid a little before now: clocks differ."""

CA_FILE: Final = "ca.pem"
CA_KEY_FILE: Final = "ca.key"
CERTIFICATE_FILE: Final = "node.pem"
KEY_FILE: Final = "node.key"
LISTEN_CERTIFICATE_FILE: Final = "listen.pem"
LISTEN_KEY_FILE: Final = "listen.key"
CLIENT_CERTIFICATE_FILE: Final = "client.pem"
CLIENT_KEY_FILE: Final = "client.key"
_CLIENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")

_NODE_USES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_LISTENER_USES: Final = (ExtendedKeyUsageOID.SERVER_AUTH,)
_CLIENT_USES: Final = (ExtendedKeyUsageOID.CLIENT_AUTH,)


class AuthorityError(Exception):
    """It was not done; the text is one line that says why and what to do."""


@attrs.frozen
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate as a file holds it."""
        return self.certificate.public_bytes(Encoding.PEM)


def create_authority(directory: Path, name: str = "coord cluster CA") -> Authority:
    """Make a CA and keep it in ``directory`` (made where missing) as ca.pem and ca.key.

    :raises AuthorityError: where there is one already: the nodes' certificates hang on it.
    """
    if (directory / CA_KEY_FILE).exists() or (directory / CA_FILE).exists():
        raise AuthorityError(f"{directory} has a CA already: use it, or choose another place")
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = Authority(_authority_certificate(key, name), key)
    _write_key(directory / CA_KEY_FILE, key)
    _write(directory / CA_FILE, authority.pem, 0o644)
    return authority


def load_authority(directory: Path) -> Authority:
    """Return the CA that `create_authority` kept in ``directory``.

    :raises AuthorityError: where there is none, or its files cannot be used.
    """
    try:
        certificate = x509.load_pem_x509_certificate((directory / CA_FILE).read_bytes())
        key = load_pem_private_key((directory / CA_KEY_FILE).read_bytes(), password=None)
    except OSError as error:
        raise AuthorityError(f"cannot read {error.filename}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise AuthorityError(f"{directory} holds no CA of coord init: make a new one") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise AuthorityError(f"{directory / CA_KEY_FILE} is not the key of {CA_FILE} beside it")
    return Authority(certificate, key)


def issue(
    directory: Path,
    authority: Authority,
    node: str,
    valid: timedelta = NODE_VALID,
    since: datetime | None = None,
) -> Credentials:
    """Make a key and a certificate for ``node`` in ``directory`` (made where missing).

    Files there are replaced: so a node whose certificate comes to its end gets a new one.
    The certificate is valid for ``valid`` from ``since`` (an hour ago), or as long as the CA.

    :raises AuthorityError: where no node may be called ``node``.
    """
    if not valid_node_name(node):
        raise AuthorityError(
            f"{node!r} is no name for a node: take up to 63 of a-z, 0-9 and -, no - at either"
            " end, and not only digits"
        )
    files = Credentials(
        ca=directory / CA_FILE,
        certificate=directory / CERTIFICATE_FILE,
        key=directory / KEY_FILE,
    )
    alternative = x509.SubjectAlternativeName([x509.DNSName(node)])
    return _issue(files, authority, node, _NODE_USES, [alternative], valid, since)


def issue_client(directory: Path, authority: Authority, client: str) -> Credentials:
    """Make a key and a certificate for a client of the line protocol, as `issue` does for nodes.

    :raises AuthorityError: where no client may be called ``client``.
    """
    check_client_name(client)
    files = Credentials(
        ca=directory / CA_FILE,
        certificate=directory / CLIENT_CERTIFICATE_FILE,
        key=directory / CLIENT_KEY_FILE,
    )
    return _issue(files, authority, client, _CLIENT_USES, [], NODE_VALID, None)


def issue_listener(directory: Path, authority: Authority, host: str) -> Credentials:
    """Make a key and a certificate that a node at ``host`` shows to clients, as `issue` does."""
    files = Credentials(
        ca=directory / CA_FILE,
        certificate=directory / LISTEN_CERTIFICATE_FILE,
        key=directory / LISTEN_KEY_FILE,
    )
    name: x509.GeneralName
    try:
        name = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    alternative = x509.SubjectAlternativeName([name])
    return _issue(files, authority, host[:64], _LISTENER_USES, [alternative], NODE_VALID, None)


def check_client_name(client: str) -> None:
    """Raise `AuthorityError` where no client may be called so."""
    if _CLIENT.fullmatch(client) is None or client == ANONYMOUS:
        raise AuthorityError(
            f"{client!r} is no name for a client: take up to 64 letters and digits, with . _ @ + -"
            f" between them, and not {ANONYMOUS}"
        )


def _issue(
    files: Credentials,
    authority: Authority,
    name: str,
    uses: Sequence[x509.ObjectIdentifier],
    more: Sequence[x509.ExtensionType],
    valid: timedelta,
    since: datetime | None,
) -> Credentials:
    """Make a key, a certificate of ``name``, and write both into their files."""
    files.key.parent.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    begins = since or _now() - BACKDATED
    ends = min(begins + valid, authority.certificate.not_valid_after_utc)
    builder = _leaf(authority, key, name, begins, ends)
    for extension in (x509.ExtendedKeyUsage(uses), *more):
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    _write_key(files.key, key)
    _write(files.certificate, certificate.public_bytes(Encoding.PEM), 0o644)
    _write(files.ca, authority.pem, 0o644)
    return files


def _now() -> datetime:
    return datetime.now(UTC)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_certificate(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    begins = _now() - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    authority: Authority,
    key: ec.EllipticCurvePrivateKey,
    name: str,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    """Return what all certificates but the CA's own have, not signed yet."""
    issuer = authority.key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place whole, and never readable to more than ``mode`` says."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(draft, path)
