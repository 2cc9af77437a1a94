"""Bytes to values and back, pure: framing, peers' messages, slots' values, lines.

The codec is msgpack through msgspec's typed arrays (``doc/decisions/0001-msgspec.rst``):
decoding validates, so what comes out of ``decode`` is a value of the stated type or
`ValueError`.
"""
