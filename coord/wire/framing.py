"""Frames on a link: four bytes of length, big-endian, and then that many bytes.

Nothing here knows what a frame holds; `coord.wire.peer` does.
"""

from __future__ import annotations

import struct
from typing import Final

LENGTH_BYTES: Final = 4
"""How many bytes stand in front of each frame."""

_LENGTH: Final = struct.Struct(">I")
pack_length = _LENGTH.pack
"""Return the bytes that announce a frame of so many bytes."""


class Splitter:
    """Cuts what arrives in arbitrary chunks into frames.

    A frame longer than ``frame_bytes_max`` is refused as soon as its length is known, so
    that at most one allowed frame is ever held. The limit may be changed between chunks.
    """

    __slots__ = ("_held", "_wanted", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._held = bytearray()
        self._wanted = LENGTH_BYTES

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the frames that ``chunk`` completes, in order.

        :raises ValueError: where a frame is announced that is longer than allowed. The
            frames before it in this chunk are lost and the splitter is of no more use: the
            stream cannot be trusted any further.
        """
        held = self._held
        if not held:
            frames, rest = self._split(chunk)
            held += chunk[rest:]
            return frames
        held += chunk
        if len(held) < self._wanted:
            return []
        frames, rest = self._split(held)
        del held[:rest]
        return frames

    def _split(self, stream: bytes | bytearray) -> tuple[list[bytes], int]:
        """Return the whole frames at the head of ``stream`` and where its tail begins."""
        frames: list[bytes] = []
        start, end = 0, len(stream)
        with memoryview(stream) as view:
            while (body := start + LENGTH_BYTES) <= end:
                (size_bytes,) = _LENGTH.unpack_from(view, start)
                if size_bytes > self.frame_bytes_max:
                    raise ValueError(
                        f"a frame of {size_bytes} bytes; at most {self.frame_bytes_max} are taken"
                    )
                if body + size_bytes > end:
                    self._wanted = LENGTH_BYTES + size_bytes
                    return frames, start
                start = body + size_bytes
                frames.append(bytes(view[body:start]))
        self._wanted = LENGTH_BYTES
        return frames, start
