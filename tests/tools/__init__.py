"""Tests of the programs that people start."""
