"""Tests of the one loop: what it applies, queues, answers, images and obeys."""
