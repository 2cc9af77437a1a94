"""Listeners that know their clients by certificates: ``ssl:`` with ``clientCA=FILE``.

Twisted's endpoint strings have no word for who may connect, so such a string is read here::

    ssl:8046:privateKey=listen.key:certKey=listen.pem:clientCA=ca.pem

The authorities in ``clientCA`` are the only ones a client's certificate may be of. A handshake
with any other fails; one without a certificate fails, too, where one is required.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import SSL4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.ssl import CertificateOptions, TLSVersion

from coord.node.settings import CLIENT_AUTHORITY, split_endpoint

_KNOWN: Final = frozenset(
    {
        *("port", "interface", "backlog"),
        *("privateKey", "certKey", "extraCertChain", CLIENT_AUTHORITY),
    }
)


def line_endpoint(
    reactor: Any, description: str, *, certificate_required: bool
) -> IStreamServerEndpoint:
    """Return the endpoint of an endpoint string, with Twisted's or with ``clientCA``.

    :param certificate_required: a client without a certificate is nobody; else it may come in
        to show a secret.
    :raises ValueError: where the string makes no sense, or a file in it does not fit; so do all
        errors that `serverFromString` raises.
    """
    kind, port, options = split_endpoint(description)
    if kind != "ssl" or CLIENT_AUTHORITY not in options:
        plain: IStreamServerEndpoint = serverFromString(reactor, description)
        return plain
    strange = sorted(options.keys() - _KNOWN)
    if strange:
        raise ValueError(f"with {CLIENT_AUTHORITY} it takes no {strange[0]}: leave it out")
    if not port.isdecimal():
        raise ValueError("it has no port: write ssl:8046:...")
    key = options.get("privateKey", "server.pem")
    terms = _terms(
        key=Path(key),
        certificate=Path(options.get("certKey", key)),
        chain=Path(options["extraCertChain"]) if "extraCertChain" in options else None,
        authorities=Path(options[CLIENT_AUTHORITY]),
        certificate_required=certificate_required,
    )
    return SSL4ServerEndpoint(
        reactor,
        int(port),
        terms,
        backlog=int(options.get("backlog", "50")),
        interface=options.get("interface", ""),
    )


def _terms(
    *,
    key: Path,
    certificate: Path,
    chain: Path | None,
    authorities: Path,
    certificate_required: bool,
) -> CertificateOptions:
    """Return the terms of every connection, seen to be such that one can be made."""
    own, *between = _certificates(certificate)
    if chain is not None:
        between += _certificates(chain)
    terms = CertificateOptions(
        privateKey=_key(key),
        certificate=own,
        extraCertChain=between,
        verify=True,
        requireCertificate=certificate_required,
        caCerts=_certificates(authorities),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    try:
        terms.getContext()
    except SSL.Error:
        raise ValueError(f"{key} is not the key of {certificate}: give the two together") from None
    return terms


def _certificates(path: Path) -> list[crypto.X509]:
    content = _read(path)
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ValueError(f"{path} is not a certificate in PEM") from None
    return [crypto.X509.from_cryptography(one) for one in found]


def _key(path: Path) -> crypto.PKey:
    content = _read(path)
    try:
        key: Any = load_pem_private_key(content, password=None)
        return crypto.PKey.from_cryptography_key(key)
    except (ValueError, TypeError):
        raise ValueError(f"{path} is not a key in PEM without a password") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
