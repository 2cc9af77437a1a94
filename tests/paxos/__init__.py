"""Tests of the core: the papers' sentences, each role, and whatever a schedule can do."""
