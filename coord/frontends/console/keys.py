"""Keys: the node's own, and those of the people who may come in.

There are no passwords. A file of keys has the form of OpenSSH's ``authorized_keys``; it is
read anew when it has changed, so that a key is taken back without a restart. Options in front
of a key that only forbid what is not there anyway (``restrict``) are
taken, ``principals="alice,bob"`` says under which names a key may be used, and any other is an
error: to pass over a condition would be to grant what was not meant.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.logger import Logger

HOST_KEY_FILE: Final = "console_host_key"
KEYS_BYTES_MAX: Final = 1 << 20
_OPTION: Final = re.compile(r'([A-Za-z0-9-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|$)')
_KEY: Final = re.compile(r"(?:^|(?<=\s))(?:ssh|ecdsa|sk)-[a-z0-9@.-]+\s+AAAA\S+")
_HARMLESS: Final = frozenset(
    {
        "restrict",
        "no-agent-forwarding",
        "no-port-forwarding",
        "no-user-rc",
        "no-x11-forwarding",
    }
)


class ConsoleError(Exception):
    """The console cannot be had; the text is one line that says what is wrong and what to do."""


@attrs.frozen
class KnownKey:
    """One line of a file of keys; ``principals`` are the user names it is for, all if empty."""

    blob: bytes
    comment: str
    principals: frozenset[str]
    is_operator: bool

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as OpenSSH prints it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key, as OpenSSH prints it; of any bytes, too."""
    digest = base64.b64encode(hashlib.sha256(blob).digest())
    return f"SHA256:{digest.decode().rstrip('=')}"


def parse_keys(text: str, *, is_operator: bool) -> list[KnownKey]:
    """Return the keys in a text; raise `ConsoleError` naming the first line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(_parse_line(line.strip(), is_operator))
            except (ValueError, BadKeyError) as error:
                why = str(error) or "it is no public key"
                raise ConsoleError(f"line {number}: {why}") from None
    return found


def _parse_line(line: str, is_operator: bool) -> KnownKey:
    place = _KEY.search(line)
    if place is None:
        raise ValueError("it is no public key")
    _, encoded = place[0].split()
    try:
        blob = base64.b64decode(encoded, validate=True)
        Key.fromString(blob, type="blob")
    except (binascii.Error, ValueError, BadKeyError, NotImplementedError):
        raise ValueError("its key cannot be read") from None
    comment = line[place.end() :].strip()
    return KnownKey(blob, comment, _principals(line[: place.start()].strip()), is_operator)


def _principals(options: str) -> frozenset[str]:
    names: list[str] = []
    at = 0
    while at < len(options):
        option = _OPTION.match(options, at)
        if option is None:
            raise ValueError("its options cannot be read")
        name, value = option[1].lower(), option[2]
        if name == "principals" and value:
            names += value.split(",")
        elif name not in _HARMLESS or value is not None:
            raise ValueError(f"the option {name} is not known here: remove it")
        at = option.end()
    return frozenset(names)


class KeyFile:
    """A file of keys, read again when it has changed.

    :raises ConsoleError: where it cannot be read at first.
    """

    _log = Logger()

    def __init__(self, option: str, path: Path, *, is_operator: bool) -> None:
        self._what = f"--{option} {path}"
        self._path = path
        self._is_operator = is_operator
        self._keys, self._stamp = self._read()

    def known(self) -> Sequence[KnownKey]:
        """Return the keys as they are now; none while the file cannot be read."""
        try:
            if self._stamp_now() != self._stamp:
                self._keys, self._stamp = self._read()
        except (OSError, ConsoleError) as error:
            self._log.error(
                "console: nobody gets in by {path}: {error}", path=self._path, error=error
            )
            self._keys, self._stamp = [], None
        return self._keys

    def _read(self) -> tuple[list[KnownKey], tuple[int, ...] | None]:
        try:
            stamp = self._stamp_now()
            if os.stat(self._path).st_mode & 0o002:
                raise ConsoleError(f"{self._what} can be written by all: chmod o-w")
            with self._path.open(encoding="utf-8") as file:
                text = file.read(KEYS_BYTES_MAX + 1)
        except OSError as error:
            raise ConsoleError(f"cannot read {self._what}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConsoleError(f"{self._what} is no text") from None
        if len(text) > KEYS_BYTES_MAX:
            raise ConsoleError(f"{self._what} is too long to be a file of keys")
        try:
            return parse_keys(text, is_operator=self._is_operator), stamp
        except ConsoleError as error:
            raise ConsoleError(f"{self._what}, {error}") from None

    def _stamp_now(self) -> tuple[int, ...]:
        found = os.stat(self._path)
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)


def load_host_key(directory: Path) -> Key:
    """Return the node's own key, made in ``directory`` where there is none yet.

    :raises ConsoleError: where it cannot be read or made, or others can read it.
    """
    path = directory / HOST_KEY_FILE
    try:
        if not path.exists():
            write_private_key(path)
        if path.stat().st_mode & 0o077:
            raise ConsoleError(f"{path} can be read by others: chmod 600 it, or remove it")
        key: Key = Key.fromString(path.read_bytes())
        return key
    except OSError as error:
        raise ConsoleError(f"cannot read or make {path}: {error.strerror}") from None
    except (BadKeyError, ValueError):
        raise ConsoleError(f"{path} is no private key: remove it, and one is made") from None


def write_private_key(path: Path) -> str:
    """Make a key that nobody else can read, whole or not at all; return its public half.

    :raises OSError: where it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    public: bytes = Key.fromString(content).public().toString("openssh")
    return public.decode()
