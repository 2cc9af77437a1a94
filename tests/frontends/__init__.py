"""Tests of what faces the clients."""
