"""TLS to servers: whom to trust, and who we are.

Nothing of TLS is imported before it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint


@attrs.frozen(kw_only=True)
class Tls:
    """How to speak TLS to servers; files are PEM.

    :param trust: the certificate of the authority that servers' certificates are of; without it,
        the authorities that the machine trusts.
    :param certificate: our own certificate, which says who we are, for servers that ask for one.
    :param key: its private key; by default in the same file.
    """

    trust: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def wrap(self, host: str, plain: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """Return an endpoint that speaks TLS to ``host`` over ``plain``.

        :raises OSError: a file cannot be read.
        :raises ValueError: a file does not hold what it should.
        """
        from twisted.internet import ssl

        creator = ssl.optionsForClientTLS(host, self._trusted(), self._own())
        wrapped: IStreamClientEndpoint = wrapClientTLS(creator, plain)
        return wrapped

    def _trusted(self) -> Any:
        from OpenSSL import SSL, crypto
        from twisted.internet import ssl

        if self.trust is None:
            return None
        try:
            return ssl.Certificate.loadPEM(_text(self.trust))
        except (SSL.Error, crypto.Error):
            raise ValueError(f"{self.trust} holds no certificate that can be read") from None

    def _own(self) -> Any:
        from OpenSSL import SSL, crypto
        from twisted.internet import ssl
        from twisted.internet.error import VerifyError

        if self.certificate is None:
            return None
        place = self.key or self.certificate
        texts = [_text(self.certificate)]
        if self.key is not None:
            texts.append(_text(self.key))
        try:
            return ssl.PrivateCertificate.loadPEM(b"\n".join(texts))
        except VerifyError:
            raise ValueError(f"the key in {place} is not that of {self.certificate}") from None
        except (SSL.Error, crypto.Error):
            raise ValueError(
                f"no certificate can be read in {self.certificate}, or no private key in {place}"
            ) from None


def _text(path: str | Path) -> bytes:
    return Path(path).read_bytes()
