"""A node that was alone becomes the first of a cluster."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase

from coord.tools.init import make_cluster
from tests.functional.cluster import HOST, Node, eventually, free_ports


class FromOne(TestCase):
    """Two folders of ``coord init``, of which the first node knew nothing at first."""

    def setUp(self) -> None:
        """Start the first node alone, without a word of peers."""
        folder = Path(tempfile.mkdtemp(prefix="coord-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.ports = free_ports(2)
        members = [f"n{index}={HOST}:{port}" for index, port in enumerate(self.ports, 1)]
        configs = make_cluster(folder, members)
        self.whole = configs[0].read_text()
        alone = [
            line
            for line in self.whole.splitlines()
            if line.startswith(("node =", "cluster =", "data ="))
        ]
        configs[0].write_text("\n".join([*alone, ""]))
        self.first = Node("n1", configs[0])
        self.second = Node("n2", configs[1], ("--join",))
        for node in (self.first, self.second):
            self.addCleanup(node.clean)
        self.first.start()
        self.first.wait_until_serving()
        self.first.write("/alone", "yes")

    def members(self) -> list[str]:
        """Return the members as the first node tells."""
        with self.first.link() as link:
            return [row for row in link.rows("MEMBERS") if row.startswith("ITEM ")]

    def test_grow(self) -> None:
        """It takes no members while none could reach it; told where it is, it does."""
        add = f"MEMBER add n2 {HOST}:{self.ports[1]}"
        eventually(
            lambda: self.first.ask(add).startswith("ERR BAD_REQUEST other nodes cannot reach n1"),
            "n1 says what it lacks",
        )
        self.first.kill()
        self.first.config.write_text(self.whole)
        self.first.start()
        self.first.wait_until_serving()
        own = f"ITEM n1 {HOST}:{self.ports[0]} voter up"
        eventually(lambda: own in self.members(), "the members say where n1 is")
        eventually(lambda: self.first.ask(add).startswith(("OK ", "ERR EXISTS")), "n2 is added")
        self.second.start()
        other = f"ITEM n2 {HOST}:{self.ports[1]} voter up"
        eventually(lambda: other in self.members(), "n2 votes")
        self.second.wait_until_serving()
        self.assertTrue(self.second.ask("GET /alone").endswith(" yes"))
