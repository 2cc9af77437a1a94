"""Names of nodes and their addresses."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.names import split_address, valid_address, valid_node_name


class NodeNames(SynchronousTestCase):
    """What a node may be called."""

    def test_good_names(self) -> None:
        """Names as in DNS are good, from one letter to 63."""
        for name in ("n1", "a", "node-7", "7up", "x" * 63):
            self.assertTrue(valid_node_name(name), name)

    def test_bad_names(self) -> None:
        """What DNS or a certificate would not take, or take for something else, is not."""
        for name in ("", "N1", "x" * 64, "a.b", "a_b", "-a", "a-", "17", "*", "ä", "a\n", "a b"):
            self.assertFalse(valid_node_name(name), name)


class Addresses(SynchronousTestCase):
    """Where a node may be reached."""

    def test_good_addresses(self) -> None:
        """A host by name or by number, IPv6 in brackets, and a port."""
        for address in ("h:1", "10.0.0.4:8076", "[::1]:65535", "a.b-c.example:8076"):
            self.assertTrue(valid_address(address), address)

    def test_bad_addresses(self) -> None:
        """No host, no port, a port that is none, or anything that would break a line is refused."""
        for address in ("", "h", "h:", ":1", "h:0", "h:65536", "::1:5", "a b:1", "h:1\n", "ä:1"):
            self.assertFalse(valid_address(address), address)

    def test_split_address(self) -> None:
        """An address falls into host and port, also where the host is IPv6."""
        self.assertEqual(split_address("[::1]:80"), ("::1", 80))
        self.assertEqual(split_address("h:8080"), ("h", 8080))
