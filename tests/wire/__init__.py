"""Tests of `coord.wire`."""
