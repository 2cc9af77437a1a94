"""What the protocol says of the tree, sentence by sentence."""

from __future__ import annotations

from coord import limits
from coord.commands import Genesis, List, Rev, Sync
from coord.errors import (
    CoordError,
    Denied,
    Exists,
    IsDirectory,
    NoEntry,
    NotEmpty,
    RevisionMismatch,
    TooLarge,
)
from coord.events import Event, Kind
from coord.results import Point, Value, Written
from coord.store import parts
from tests.store.case import StoreTestCase

MEMBERS = (("n2", "h2:1"), ("n1", "h1:1"), ("n3", "h3:1"))


class RevisionTests(StoreTestCase):
    """Every change makes the next revision."""

    def test_each_change(self) -> None:
        """Revisions are numbered from 1, one for each change."""
        self.assertEqual(self.store.rev, 0)
        self.assertEqual(self.set("/a"), Written(1))
        self.assertEqual(self.set("/a"), Written(2))
        self.assertEqual(self.add("/b"), Written(3, "/b"))
        self.assertEqual(self.delete("/a"), Written(4))

    def test_same_value(self) -> None:
        """To set the value that is there already is a change too."""
        self.set("/a", b"x")
        self.assertEqual(self.set("/a", b"x"), Written(2))
        self.assertEqual(self.get("/a"), Value(2, b"x"))

    def test_refused(self) -> None:
        """A refused write makes no revision."""
        self.set("/a/b")
        for result in (self.add("/a"), self.delete("/a"), self.delete("/x"), self.set("/ctl")):
            self.assertIsInstance(result, CoordError)
        self.assertEqual(self.store.rev, 1)
        self.assertEqual(len(self.events()), 1)

    def test_parents_with_it(self) -> None:
        """A write that makes parents is still one revision."""
        self.assertEqual(self.set("/a/b/c/d"), Written(1))

    def test_points(self) -> None:
        """REV and SYNC tell the revision."""
        self.set("/a")
        self.assertEqual(self.store.answer(Rev()), Point(1))
        self.assertEqual(self.store.answer(Sync()), Point(1))


class ParentTests(StoreTestCase):
    """Parents that nobody set."""

    def test_made(self) -> None:
        """A write to /a/b/c makes the missing parents."""
        self.set("/a/b/c")
        self.assertEqual(self.names("/"), ["a"])
        self.assertEqual(self.names("/a"), ["b"])
        self.assertEqual(self.names("/a/b"), ["c"])

    def test_no_value(self) -> None:
        """A parent that nobody set has no value."""
        self.set("/a/b/c")
        self.refused(self.get("/a"), IsDirectory)
        self.refused(self.get("/a/b"), IsDirectory)
        self.assertIsNone(self.facts("/a").size_bytes)
        self.assertEqual(self.facts("/a").version, 0)

    def test_goes(self) -> None:
        """It goes when its last child goes, and so does its own parent."""
        self.set("/a/b/c")
        self.set("/a/b/d")
        self.delete("/a/b/c")
        self.assertEqual(self.names("/a/b"), ["d"])
        self.assertEqual(self.delete("/a/b/d"), Written(4))
        self.refused(self.store.answer(List("/a")), NoEntry)
        self.assertEqual(self.names("/"), [])

    def test_set_stays(self) -> None:
        """A parent that somebody set stays when its last child goes."""
        self.set("/a/b/c")
        self.set("/a", b"mine")
        self.delete("/a/b/c")
        self.assertEqual(self.get("/a"), Value(2, b"mine"))
        self.assertEqual(self.names("/a"), [])

    def test_empty_value(self) -> None:
        """An empty value is a value: a parent set to it stays."""
        self.set("/a", b"")
        self.set("/a/b")
        self.delete("/a/b")
        self.assertEqual(self.get("/a"), Value(1, b""))

    def test_value_and_children(self) -> None:
        """Any node may hold a value and have children."""
        self.set("/a", b"1")
        self.set("/a/b", b"2")
        self.assertEqual(self.get("/a"), Value(1, b"1"))
        self.assertEqual(self.get("/a/b"), Value(2, b"2"))

    def test_root(self) -> None:
        """The root is such a parent, always there; it may be set, never deleted."""
        self.assertEqual(self.names("/"), [])
        self.refused(self.get("/"), IsDirectory)
        self.assertEqual(self.set("/", b"top"), Written(1))
        self.assertEqual(self.get("/"), Value(1, b"top"))
        self.refused(self.delete("/"), Denied)
        self.refused(self.delete("/", tree=True), Denied)

    def test_no_events(self) -> None:
        """Watchers see nothing of parents that nobody set."""
        self.set("/a/b/c", b"x")
        self.delete("/a/b/c")
        self.assertEqual(
            self.events(), [Event(1, Kind.SET, "/a/b/c", b"x"), Event(2, Kind.DEL, "/a/b/c")]
        )

    def test_first_value(self) -> None:
        """A parent that is set later gains its first value then, and keeps its birth."""
        self.set("/a/b")
        self.set("/a", b"x")
        facts = self.facts("/a")
        self.assertEqual((facts.created, facts.rev, facts.version), (1, 2, 1))
        self.assertEqual((facts.created_ms, facts.modified_ms), (1001, 1002))


class ConditionTests(StoreTestCase):
    """What follows from revisions: ``if=``."""

    def test_zero_on_existing(self) -> None:
        """if=0 on a node that is there is refused, with or without a value."""
        for _ in range(5):
            self.set("/message/x", b"hello")
        self.set("/message", b"again", 0)
        text = self.refused(self.set("/message/x", b"again", 0), RevisionMismatch)
        self.assertEqual(text, "/message/x was last changed at revision 5")
        text = self.refused(self.set("/message", b"again", 0), RevisionMismatch)
        self.assertEqual(text, "/message was last changed at revision 1")

    def test_zero_on_missing(self) -> None:
        """if=0 on a node that is not there makes it."""
        self.assertEqual(self.set("/a", b"x", 0), Written(1))

    def test_missing(self) -> None:
        """if=N with N above 0 on a node that is not there has no node."""
        self.refused(self.set("/a", b"x", 3), NoEntry)
        self.refused(self.delete("/a", 3), NoEntry)

    def test_changed(self) -> None:
        """if=N on a node that changed after N is refused."""
        self.set("/a")
        self.set("/a")
        self.refused(self.set("/a", b"x", 1), RevisionMismatch)
        self.refused(self.delete("/a", 1), RevisionMismatch)

    def test_unchanged(self) -> None:
        """if=N on a node that has not changed after N is done, N need not be its revision."""
        self.set("/a")
        self.set("/b")
        self.set("/b")
        self.assertEqual(self.set("/a", b"x", 3), Written(4))
        self.assertEqual(self.delete("/b", 3), Written(5))

    def test_children_do_not_count(self) -> None:
        """A node whose children changed has not changed."""
        self.set("/a")
        self.set("/a/b")
        self.assertEqual(self.set("/a", b"x", 1), Written(3))

    def test_deleted_and_made_again(self) -> None:
        """A node that was deleted and made again has changed."""
        self.set("/a")
        self.delete("/a")
        self.set("/a")
        self.refused(self.set("/a", b"x", 1), RevisionMismatch)

    def test_delete_zero(self) -> None:
        """To delete only what is not there never works."""
        self.refused(self.delete("/a", 0), NoEntry)
        self.set("/a")
        self.refused(self.delete("/a", 0), RevisionMismatch)

    def test_texts_are_one_line(self) -> None:
        """A path in an error's text is written as in a line."""
        self.assertEqual(self.refused(self.get("/a\n b"), NoEntry), "/a%0A%20b is not there")


class AddTests(StoreTestCase):
    """Nodes that must not be there yet."""

    def test_exists(self) -> None:
        """ADD of a node that is there is refused, a parent that nobody set among them."""
        self.set("/a/b")
        self.refused(self.add("/a/b"), Exists)
        self.refused(self.add("/a"), Exists)
        self.refused(self.add("/"), Exists)

    def test_sequence(self) -> None:
        """With seq the parent's next number, ten digits, ends the name, and the answer names it."""
        self.assertEqual(self.add("/jobs/job-", b"x", True), Written(1, "/jobs/job-0000000001"))
        self.assertEqual(self.add("/jobs/other-", b"y", True), Written(2, "/jobs/other-0000000002"))
        self.assertEqual(self.get("/jobs/other-0000000002"), Value(2, b"y"))

    def test_below_root(self) -> None:
        """The root counts its children as any parent does."""
        self.assertEqual(self.add("/", b"", True), Written(1, "/0000000001"))

    def test_never_reused(self) -> None:
        """A number is not given again after its node went."""
        self.add("/q/", b"", True)
        self.add("/q/", b"", True)
        self.delete("/q/0000000002")
        self.assertEqual(self.add("/q/", b"", True), Written(4, "/q/0000000003"))

    def test_parent_went(self) -> None:
        """Nor after its parent went with its last child, and was made anew."""
        self.add("/q/", b"", True)
        self.delete("/q/0000000001")
        self.set("/q")
        self.assertEqual(self.add("/q/", b"", True), Written(4, "/q/0000000002"))
        self.delete("/q", tree=True)
        self.set("/q/by-hand")
        self.assertEqual(self.add("/q/", b"", True), Written(7, "/q/0000000003"))

    def test_each_parent_its_own(self) -> None:
        """Every parent counts for itself."""
        self.add("/q/", b"", True)
        self.assertEqual(self.add("/p/", b"", True), Written(2, "/p/0000000001"))

    def test_names_made_by_hand(self) -> None:
        """A number whose name is taken is passed over."""
        self.set("/q/0000000001")
        self.set("/q/0000000002")
        self.assertEqual(self.add("/q/", b"", True), Written(3, "/q/0000000003"))

    def test_refused_takes_no_number(self) -> None:
        """A name that became too long is refused."""
        long = "/" + "a" * (limits.PATH_BYTES_MAX - 10)
        self.refused(self.add(long, b"", True), TooLarge)
        self.assertEqual(self.add("/b", b"", True), Written(1, "/b0000000001"))


class DeleteTests(StoreTestCase):
    """Nodes that go."""

    def test_missing(self) -> None:
        """DEL of what is not there has no node."""
        self.refused(self.delete("/a"), NoEntry)
        self.refused(self.delete("/a", tree=True), NoEntry)

    def test_children(self) -> None:
        """A node with children goes only with tree."""
        self.set("/a", b"x")
        self.set("/a/b")
        self.refused(self.delete("/a"), NotEmpty)
        self.assertEqual(self.delete("/a", tree=True), Written(3))
        self.refused(self.get("/a/b"), NoEntry)

    def test_parent_nobody_set(self) -> None:
        """So does a parent that nobody set."""
        self.set("/a/b")
        self.refused(self.delete("/a"), NotEmpty)
        self.assertEqual(self.delete("/a", tree=True), Written(2))

    def test_tree_of_a_leaf(self) -> None:
        """The tree of a leaf is the leaf."""
        self.set("/a")
        self.assertEqual(self.delete("/a", tree=True), Written(2))

    def test_tree_events(self) -> None:
        """DEL tree is one revision and one event for each node that lost a value, in order."""
        for path in ("/t/b", "/t/a/x/y", "/t", "/t/a", "/t/a!", "/tt"):
            self.set(path)
        self.delete("/t", tree=True)
        expected = [
            Event(7, Kind.DEL, path) for path in ("/t", "/t/a", "/t/a/x/y", "/t/a!", "/t/b")
        ]
        self.assertEqual(self.events(6), expected)
        self.assertEqual(self.walk("/**"), ["/tt"])

    def test_tree_too_large(self) -> None:
        """A tree of more nodes than one step may take is deleted in parts, or not at all."""
        for path in ("/t/a", "/t/b", "/t/c"):
            self.set(path)
        self.patch(parts, "DELETE_NODES_MAX", 3)
        self.refused(self.delete("/t", tree=True), TooLarge)
        self.assertEqual(self.delete("/t/c"), Written(4))
        self.assertEqual(self.delete("/t", tree=True), Written(5))
        self.assertEqual(self.walk("/**"), [])

    def test_made_again(self) -> None:
        """A node made again is a new one."""
        self.set("/a")
        self.set("/a")
        self.delete("/a")
        self.set("/a")
        facts = self.facts("/a")
        self.assertEqual((facts.created, facts.version, facts.created_ms), (4, 1, 1004))


class ControlTests(StoreTestCase):
    """``/ctl`` belongs to the cluster."""

    def test_genesis(self) -> None:
        """A cluster begins with its name and members; a client's first write is what follows."""
        self.assertEqual(self.store.apply(Genesis("c1", MEMBERS), 5), Written(4))
        self.assertEqual(self.get("/ctl/cluster"), Value(1, b"c1"))
        self.assertEqual(self.get("/ctl/members/n1"), Value(2, b"h1:1"))
        self.assertEqual(self.get("/ctl/members/n3"), Value(4, b"h3:1"))
        self.assertEqual(self.set("/message"), Written(5))

    def test_genesis_twice(self) -> None:
        """A second genesis does nothing, unless it gives the cluster another name."""
        self.store.apply(Genesis("c1", MEMBERS), 5)
        self.assertEqual(self.store.apply(Genesis("c1", ()), 6), Written(4))
        self.assertEqual(self.get("/ctl/cluster"), Value(1, b"c1"))
        self.assertEqual(self.store.apply(Genesis("c2", ()), 7), Written(5))
        self.assertEqual(self.get("/ctl/cluster"), Value(5, b"c2"))
        self.assertEqual(self.get("/ctl/members/n1"), Value(2, b"h1:1"))

    def test_writes(self) -> None:
        """A write there is denied."""
        self.store.apply(Genesis("c1", MEMBERS), 5)
        for path in ("/ctl", "/ctl/cluster", "/ctl/new/node"):
            self.refused(self.set(path), Denied)
            self.refused(self.add(path), Denied)
            self.refused(self.delete(path), Denied)
            self.refused(self.delete(path, tree=True), Denied)
        self.refused(self.add("/ctl/x", b"", True), Denied)

    def test_neighbours(self) -> None:
        """Names that only begin like it are anybody's."""
        self.assertEqual(self.set("/ctl2"), Written(1))
        self.assertEqual(self.set("/ctl!/x"), Written(2))

    def test_read_and_watched(self) -> None:
        """It can be read and watched."""
        self.store.apply(Genesis("c1", MEMBERS), 5)
        self.assertEqual(self.names("/ctl/members"), ["n1", "n2", "n3"])
        self.assertEqual(len(self.events(0, b"/ctl/**")), 4)
