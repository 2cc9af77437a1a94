"""Nodes that go after a while: what the store says of time, and what it does when it is up."""

from __future__ import annotations

from coord.commands import Add, Set
from coord.events import Event, Kind
from coord.results import Value
from coord.store.news import Lifetime
from tests.store.users import UsersTestCase


class LifetimeTests(UsersTestCase):
    """``ttl=S``: gone so long after the last SET."""

    def test_counted_from_here(self) -> None:
        """From the write on the time is counted, and STAT tells how long the node lives."""
        self.mortal("/a", 5000)
        self.assertEqual(self.news(Lifetime), [Lifetime("/a", 1, 5000)])
        self.assertEqual(self.facts("/a").ttl_seconds, 5.0)

    def test_gone(self) -> None:
        """When the time is up the node goes, in a revision of its own."""
        self.mortal("/a", 5000)
        self.mortal("/b/c", 5000)
        self.lapse(nodes=(("/a", 1), ("/b/c", 2)))
        self.assertEqual(self.events(2), [Event(3, Kind.DEL, "/a"), Event(4, Kind.DEL, "/b/c")])
        self.assertEqual(self.store.node_count, 1)

    def test_set_again(self) -> None:
        """A SET begins the time anew: what was counted before it means nothing."""
        self.mortal("/a", 5000)
        self.store.news()
        self.set("/a", b"new")
        self.assertEqual(self.news(Lifetime), [Lifetime("/a", 2, 5000)])
        self.lapse(nodes=(("/a", 1),))
        self.assertEqual(self.get("/a"), Value(2, b"new"))
        self.lapse(nodes=(("/a", 2),))
        self.assertEqual(self.walk("/**"), [])

    def test_children_do_not_count(self) -> None:
        """A child that comes or goes is no SET."""
        self.mortal("/a", 5000)
        self.store.news()
        self.set("/a/b")
        self.delete("/a/b")
        self.assertEqual(self.news(Lifetime), [])
        self.lapse(nodes=(("/a", 1),))
        self.assertEqual(self.walk("/**"), [])

    def test_another(self) -> None:
        """ttl= gives another lifetime, ttl=0 an endless one."""
        self.mortal("/a", 5000)
        self.mortal("/a", 7000)
        self.assertEqual(self.facts("/a").ttl_seconds, 7.0)
        self.mortal("/a", 0)
        self.assertIsNone(self.facts("/a").ttl_seconds)
        self.lapse(nodes=(("/a", 1), ("/a", 2), ("/a", 3)))
        self.assertEqual(self.walk("/**"), ["/a"])
        self.assertEqual(list(self.store.spans()), [])

    def test_made_anew(self) -> None:
        """A node of the same name that was made later does not go for an older one."""
        self.mortal("/a", 5000)
        self.delete("/a")
        self.set("/a")
        self.lapse(nodes=(("/a", 1), ("/a", 3)))
        self.assertEqual(self.walk("/**"), ["/a"])

    def test_has_children(self) -> None:
        """One that has children loses its value and stays for them."""
        self.mortal("/a", 5000)
        self.set("/a/b")
        self.lapse(nodes=(("/a", 1),))
        self.assertEqual(self.events(2), [Event(3, Kind.DEL, "/a")])
        self.assertEqual(self.walk("/**"), ["/a/b"])
        self.lapse(nodes=(("/a", 1), ("/a", 3)))
        self.assertEqual(self.store.rev, 3)

    def test_add(self) -> None:
        """ADD takes a lifetime too."""
        self.do("", Add("/q/", b"", sequential=True, ttl_ms=100))
        self.assertEqual(self.news(Lifetime), [Lifetime("/q/0000000001", 1, 100)])

    def test_both(self) -> None:
        """A node may have an owner and a lifetime; it goes with what ends first."""
        self.open("s1")
        self.do("s1", Set("/a", b"", ephemeral=True, ttl_ms=100))
        self.do("s1", Set("/b", b"", ephemeral=True, ttl_ms=100))
        self.lapse(nodes=(("/a", 1),))
        self.assertEqual(self.store.nodes_of("s1"), 1)
        self.end("s1")
        self.assertEqual(self.walk("/**"), [])
        self.assertEqual(list(self.store.spans()), [])

    def test_spans(self) -> None:
        """A node that starts from an image counts every lifetime from its own start."""
        self.mortal("/a", 100)
        self.mortal("/b", 200)
        self.delete("/a")
        self.mortal("/c/d", 300)
        expected = [Lifetime("/b", 2, 200), Lifetime("/c/d", 4, 300)]
        self.assertEqual(list(self.store.spans()), expected)
        self.reload()
        self.assertEqual(list(self.store.spans()), expected)
        self.assertEqual(self.store.news(), [])

    def test_refused(self) -> None:
        """A lifetime does not bend conditions."""
        self.mortal("/a", 100)
        before = self.store.rev
        self.do("", Set("/a", b"", 0, ttl_ms=5))
        self.assertEqual((self.store.rev, self.facts("/a").ttl_seconds), (before, 0.1))
