"""Who speaks: certificates and the names of nodes.

A node's certificate carries its name as the one DNS name among its alternative names, and
is signed by the private CA of the cluster, the only one that is trusted. Who holds such a
certificate *is* that node: so no host name ever stands in one, and neither does
``localhost``. The dialler holds the listener's certificate against the peer that it wanted
to reach; the listener holds the dialler's against the name claimed in its Hello (both by
service-identity, RFC 9525).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, verify_service_identity
from service_identity.pyopenssl import verify_hostname
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from coord.names import valid_node_name

EXPIRY_WARNING: Final = timedelta(days=30)
"""A certificate that ends sooner is worth a line in the log at every start."""

_CIPHERS_TLS_1_2: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_USES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_log = Logger()


class CredentialsError(Exception):
    """These files cannot be used; the text is one line: what is wrong and what to do."""


@attrs.frozen
class Credentials:
    """Where a node's PEM files are: the CA, its own certificate (chain), and its key."""

    ca: Path
    certificate: Path
    key: Path


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Identity:
    """One node's proof of who it is, and its means to check the others'; see `load`."""

    def __init__(self, node: str, context: SSL.Context) -> None:
        self.node = node
        self._context = context

    @classmethod
    def load(cls, credentials: Credentials, node: str) -> Identity:
        """Return the identity of ``node``.

        :raises CredentialsError: where a file is unreadable, the key is not the
            certificate's, the certificate is not of ``node``, is out of date, or is not
            signed by the CA.
        """
        if not valid_node_name(node):
            raise CredentialsError(
                f"{node!r} cannot stand in a certificate as the name of a node: take up to 63"
                " of a-z, 0-9 and -, no - at either end, and not only digits"
            )
        authorities = _certificates(credentials.ca)
        own, *chain = _certificates(credentials.certificate)
        key = _key(credentials.key)
        _check_pair(credentials, own, key)
        _check_owner(credentials.certificate, own, node)
        _check_trust(credentials, own, chain, authorities)
        return cls(node, _context(own, chain, key, authorities))

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return what encrypts a connection that this node dials."""
        return SSL.Connection(self._context, None)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return what encrypts a connection that this node accepts."""
        return SSL.Connection(self._context, None)


def is_peer(connection: SSL.Connection, name: str) -> bool:
    """Say whether the certificate at the other end is that of the node called ``name``."""
    if not valid_node_name(name):
        return False
    try:
        verify_hostname(connection, name)
    except (VerificationError, CertificateError):
        return False
    return True


def names_of(connection: SSL.Connection) -> str:
    """Return the names in the (verified) certificate at the other end, for a log."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return ", ".join(_dns_names(certificate)) if certificate is not None else ""


def _now() -> datetime:
    return datetime.now(UTC)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from None


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise CredentialsError(f"{path} is not a certificate in PEM: see coord init") from None


def _key(path: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key: PrivateKeyTypes
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise CredentialsError(f"{path} is not a key in PEM without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CredentialsError(f"{path} is not an ECDSA or RSA key: see coord init")
    if path.stat().st_mode & 0o077:
        _log.warn("{path} can be read by others than its owner: chmod 600 it", path=path)
    return key


def _check_pair(
    credentials: Credentials,
    own: x509.Certificate,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    if own.public_key() != key.public_key():
        raise CredentialsError(
            f"{credentials.key} is not the key of {credentials.certificate}: give the two that"
            " were made together"
        )


def _check_owner(path: Path, own: x509.Certificate, node: str) -> None:
    try:
        verify_service_identity(extract_patterns(own), [DNS_ID(node)], [])
    except (VerificationError, CertificateError):
        names = ", ".join(_dns_names(own)) or "nobody"
        raise CredentialsError(
            f"{path} is the certificate of {names}, not of {node}: give the one of {node}"
        ) from None
    try:
        uses = set(own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses.issuperset(_USES):
        raise CredentialsError(
            f"{path} may not be used both to dial and to listen: issue it for serverAuth and"
            " clientAuth"
        )


def _check_trust(
    credentials: Credentials,
    own: x509.Certificate,
    chain: list[x509.Certificate],
    authorities: list[x509.Certificate],
) -> None:
    """See to it that the others will trust what this node shows: as of now, by this CA."""
    now = _now()
    path = credentials.certificate
    if now > own.not_valid_after_utc:
        ended = f"{own.not_valid_after_utc:%Y-%m-%d}"
        raise CredentialsError(f"{path} expired on {ended}: issue a new one")
    if now < own.not_valid_before_utc:
        raise CredentialsError(f"{path} is not valid yet: set this machine's clock right")
    store = crypto.X509Store()
    store.set_time(now)
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    between = [crypto.X509.from_cryptography(one) for one in chain]
    try:
        crypto.X509StoreContext(
            store, crypto.X509.from_cryptography(own), between
        ).verify_certificate()
    except crypto.X509StoreContextError as error:
        raise CredentialsError(
            f"{path} is not signed by {credentials.ca} ({error}): give the CA that issued it"
        ) from None
    if (left := own.not_valid_after_utc - now) < EXPIRY_WARNING:
        _log.warn("{path} expires in {days} days: issue a new one", path=path, days=left.days)


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)


def _context(
    own: x509.Certificate,
    chain: list[x509.Certificate],
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    authorities: list[x509.Certificate],
) -> SSL.Context:
    """Return the terms of every connection: both show a certificate of this CA, TLS >= 1.2.

    No session is ever resumed: a link lives for long, and each one is verified in full.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS_TLS_1_2)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(own)
    for one in chain:
        context.add_extra_chain_cert(one)
    context.use_privatekey(key)
    store = context.get_cert_store()
    assert store is not None, "OpenSSL gives every context a store"
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verified)
    return context


def _verified(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """Keep OpenSSL's verdict, and tell the link why, for its log."""
    if not ok:
        tls = connection.get_app_data()
        tls.wrappedProtocol.distrusted(error)
    return bool(ok)
