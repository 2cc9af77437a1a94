"""Tests of `coord.peers`."""
