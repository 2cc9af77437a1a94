r"""A value on one line of a backup, and the words of a header.

A value that is text stands there as it is, so that ``grep`` finds it; ``\\`` stands for a
backslash, ``\n``, ``\r``, ``\t`` and ``\xHH`` for what a line or a terminal would not bear. All
other values, and text that is mostly such characters, are ``\=`` and Base64. Text never has ``=``
after a backslash, so the two cannot be mistaken for each other.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

_UNPRINTED: Final = re.compile(r"[\x00-\x1f\\\x7f-\x9f\u2028\u2029]")
_CONTROLS: Final = bytes((*range(0x20), ord("\\"), 0x7F))
_SHORT: Final = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-f]{2})|([\\nrt]))?")
_MEANT: Final = {b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_BASE64: Final = b"\\="
_SHORT_BYTES: Final = 16
"""What is no longer than this beyond twice its value stays text: a few escapes can be read."""
_UNSAFE: Final = re.compile(rb"[\x00-\x20%\x7f]")
_SECONDS: Final = re.compile(rb"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,3}))?")
_PERCENT: Final = re.compile(rb"%([0-9A-F]{2})?")


def escape(value: bytes) -> bytes:
    """Return ``value`` as it ends a line."""
    if len(value.translate(None, _CONTROLS)) == len(value) and value.isascii():
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _base64(value)
    written = _UNPRINTED.sub(_escaped, text).encode()
    return written if len(written) <= 2 * len(value) + _SHORT_BYTES else _base64(value)


def unescape(written: bytes) -> bytes:
    """Return the value that a line wrote so; `ValueError` where it is none."""
    if b"\\" not in written:
        return written
    if written.startswith(_BASE64):
        return binascii.a2b_base64(written[len(_BASE64) :], strict_mode=True)
    return _ESCAPE.sub(_meant, written)


def word(text: str) -> bytes:
    """Return ``text`` as one word without spaces: those, control bytes and ``%`` are ``%HH``."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], text.encode())


def text_of(written: bytes) -> str:
    """Return the text of a `word`; `ValueError` where it is none."""
    return _PERCENT.sub(_byte, written).decode()


def seconds(span_ms: int) -> bytes:
    """Return a span of time as a line writes it: in seconds, no digit more than it needs."""
    whole, rest = divmod(span_ms, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".").encode()


def span_ms(written: bytes) -> int:
    """Return the milliseconds of a span; `ValueError` where it is none, or no time at all."""
    found = _SECONDS.fullmatch(written)
    if found is None:
        raise ValueError("a time in seconds is wrong")
    span = 1000 * int(found[1]) + int((found[2] or b"").ljust(3, b"0"))
    if not span:
        raise ValueError("a lifetime of no time at all")
    return span


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _SHORT.get(character) or "".join(f"\\x{byte:02x}" for byte in character.encode())


def _meant(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes((int(found[1], 16),))
    if found[2] is not None:
        return _MEANT[found[2]]
    raise ValueError("a backslash is followed by \\, n, r, t or xHH")


def _byte(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        raise ValueError("% is followed by two hexadecimal digits")
    return bytes((int(found[1], 16),))


def _base64(value: bytes) -> bytes:
    return _BASE64 + binascii.b2a_base64(value, newline=False)
