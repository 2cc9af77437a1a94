"""Tests of one node's settings, command line and wiring."""
