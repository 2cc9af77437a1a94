"""Writes by those who may not: what they are told, and what they are not."""

from __future__ import annotations

from coord.commands import Add, Caller, Delete, Level, Lock, OpenSession, Set
from coord.errors import CoordError, Denied
from coord.results import Opened
from coord.store.machine import Store
from tests.store.case import StoreTestCase

ADMIN = Caller("root", "h:1", Level.ADMIN)
BOB = Caller("bob", "h:2", Level.WRITE)
NOBODY = Caller("anonymous", "h:3", Level.NONE)


class WritableTests(StoreTestCase):
    """Refusals tell of nothing but what was named."""

    def setUp(self) -> None:
        """Have a tree, and rules for some of it."""
        self.store = Store()
        for path in ("/a/hidden", "/q/0000000001", "/q/b"):
            self.do(Set(path, b"v"), ADMIN)
        self.do(Add("/q/job-", b"v", sequential=True), ADMIN)
        self.do(Set("/ctl/acl", b"bob write /b/**\nbob read /q\n"), ADMIN)

    def do(self, write: Set | Add | Delete | Lock | OpenSession, caller: Caller) -> object:
        """Do a write."""
        return self.store.apply(write, 1_000, caller)

    def denied(self, write: Set | Add | Delete | Lock, caller: Caller = BOB) -> str:
        """Return why a write is denied."""
        result = self.do(write, caller)
        assert isinstance(result, CoordError)
        self.assertIsInstance(result, Denied)
        return result.text

    def test_tree(self) -> None:
        """Who may not delete a tree does not learn by it what is in there."""
        self.assertEqual(self.denied(Delete("/a", tree=True)), "you may not write /a")
        self.assertEqual(self.denied(Delete("/z", tree=True)), "you may not write /z")

    def test_number(self) -> None:
        """Who may not add a node does not learn by it which number is next."""
        told = self.denied(Add("/q/job-", b"", sequential=True))
        self.assertEqual(told, "you may not write /q/job-")

    def test_sessions(self) -> None:
        """Who may do nothing at all opens no session: there are only so many."""
        opening = OpenSession("s1", b"h", 10_000)
        self.assertIsInstance(self.do(opening, NOBODY), Denied)
        self.assertIsInstance(self.do(opening, BOB), Opened)
        self.do(Delete("/ctl/acl"), ADMIN)
        opening = OpenSession("s2", b"h", 10_000)
        self.assertIsInstance(self.do(opening, NOBODY), Denied)
        self.assertEqual([one.session for one in self.store.sessions()], ["s1"])
