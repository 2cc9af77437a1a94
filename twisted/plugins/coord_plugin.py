"""``twistd coord``."""

from twisted.application.service import ServiceMaker

coord = ServiceMaker(
    "coord", "coord.node.tap", "A node of coord, a small store that many machines share.", "coord"
)
