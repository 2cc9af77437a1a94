"""Every bound of the program in one place, each with its reason.

Sizes are bytes, times seconds, unless the name says otherwise. What an operator
may change stands in ``coord.node.settings`` with these as defaults; the rest
are promises between rooms, and the asserts at the end hold them together.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# -- what one client may ask ------------------------------------------------
LINE_BYTES_MAX: Final = 64 * KIB
"""Longest request line. Paths and options fit many times over."""
VALUE_BYTES_MAX: Final = 1 * MIB
"""Longest value. coord keeps small data; a megabyte is already large."""
SKIPPED_BYTES_MAX: Final = 16 * MIB
"""Largest value that is too large and still read past; a larger one closes the connection."""
INLINE_VALUE_BYTES_MAX: Final = 1024
"""Longest value printed on the reply's own line (the protocol fixes it)."""
PATH_BYTES_MAX: Final = 4 * KIB
"""Longest path as UTF-8: four of them fit in a line four times over."""
PATH_DEPTH_MAX: Final = 128
"""Deepest path. A write touches every missing parent, so depth costs."""
GLOB_PIECES_MAX: Final = 64
"""Wildcards and the texts between them in one glob."""
TAG_LENGTH_MAX: Final = 32
"""Longest tag (the protocol fixes it)."""

WORD_LENGTH_MAX: Final = 64
"""Longest id of a write (``id=WORD``)."""
TRANSACTION_PARTS_MAX: Final = 1000
"""Lines of one transaction."""
TRANSACTION_BYTES_MAX: Final = 2 * MIB
"""Paths and values of one transaction: with its batch it must fit into a slot."""
TRANSACTION_ROWS_BYTES_MAX: Final = 4 * MIB
"""What the reads of one transaction are answered together. Part of what a log means: the same on
every node, never changed."""
TRANSACTIONS_PER_CONNECTION_MAX: Final = 64
"""Transactions in the making of one connection, each under its tag."""
TRANSACTIONS_BYTES_MAX: Final = 4 * MIB
"""Paths and values of all of them together."""

# -- sessions and locks. These are part of what a log means: the same on every node, never changed
SESSION_SECONDS: Final = 10.0
"""A session's timeout where its client names none."""
SESSION_SECONDS_MIN: Final = 0.5
"""The shortest timeout; a shorter one is made this long. An election must fit in."""
SESSION_SECONDS_MAX: Final = 86_400.0
"""The longest timeout; a longer one is made this long."""
SESSIONS_MAX: Final = 200_000
"""Sessions open at one time; one more is OVERLOADED."""
SESSIONS_EXPIRED_KEPT: Final = 4096
"""Sessions that expired and are still told from those that never were."""
SESSION_NODES_MAX: Final = 131_072
"""Ephemeral nodes of one session: they go in one step, which must not take as long as a lease."""
SESSION_LOCKS_MAX: Final = 16_384
"""Locks held, and places in queues, of one session."""
LOCK_WAITERS_MAX: Final = 16_384
"""Places in the queue of one lock: all who share it may get it in one step, which must not take
as long as a lease."""
LOCK_HOLDERS_SHOWN: Final = 256
"""Holders of a shared lock that ``STAT`` names, the newest; all of them might not fit in a line."""
OUTCOMES_PER_SESSION_MAX: Final = 1024
"""Writes with an id whose answers a session remembers; the oldest is forgotten first."""
OUTCOME_BYTES_MAX: Final = 256 * KIB
"""Bytes of ids and answers that a session remembers; past it, too, the oldest is forgotten."""
SPAN_SECONDS_MAX: Final = 10 * 365 * 86_400.0
"""Longest ``ttl``, ``wait`` and ``delay``."""

# -- sessions kept alive
RENEW_SECONDS: Final = 0.1
"""How often a node tells the leader which of its sessions were heard of."""
RENEW_SESSIONS_MAX: Final = 1000
"""Sessions told in one message; more take several."""
EXPIRY_GRACE_SECONDS: Final = 0.25
"""How much longer than its timeout the leader waits before a session expires: what was heard of it
in time may still be on its way."""
LAPSES_PER_BATCH_MAX: Final = 256
"""Sessions, nodes, waits and delays that end by one batch of the leader."""
LAPSING_NODES_MAX: Final = 16_384
"""Ephemeral nodes that go by one such batch, unless the first session alone has more."""
ACL_BYTES_MAX: Final = 64 * KIB
"""Longest text of ``/ctl/acl``."""
ACL_RULES_MAX: Final = 1024
"""Rules in it."""

# -- what one connection may have waiting -----------------------------------
PIPELINE_REQUESTS_MAX: Final = 8192
"""Requests of one connection not yet answered; past it we stop reading."""
PIPELINE_BYTES_MAX: Final = 4 * MIB
"""Bytes of such requests; past it we stop reading."""
REPLY_SLICE_BYTES: Final = 64 * KIB
"""What each source of replies (requests, tagged ones, watches) adds to one write, give or
take one reply. The transport stops us at as much unsent: replies are never buffered beyond."""
STREAMS_PER_CONNECTION_MAX: Final = 16
"""Tagged walks and lists of one connection under way at once; more wait their turn."""
WATCHES_PER_CONNECTION_MAX: Final = 1024
"""Watches and waits of one connection; past it OVERLOADED."""
WATCH_PENDING_EVENTS_MAX: Final = 1024
"""Events kept for one watcher; past it the watch reads from the history."""
CONNECTIONS_MAX: Final = 20_000
"""Client connections of one node; past it a newcomer is told OVERLOADED."""

PROBE_SECONDS: Final = 15
"""A client silent for this long is probed by TCP: one that died with its watches open looks
just like one that has said its last word and listens."""
TURN_SECONDS: Final = 0.001
"""How long one connection's walks, and all connections that have more to say, hold a turn."""

# -- history -----------------------------------------------------------------
HISTORY_REVISIONS: Final = 360_000
"""Revisions that can be read and watched from (an hour at a hundred a second)."""
PICTURE_REVISIONS_MAX: Final = 1_000_000
"""How far a walk may fall behind the history: one that is not read must not fill the memory."""
SEQUENCE_PARENTS_MAX: Final = 1024
"""Parents that are gone whose last number is kept. Part of what a log means: the same on
every node, never changed."""

DELETE_NODES_MAX: Final = 250_000
"""Nodes that one ``DEL tree`` deletes: it is one step, and must not take as long as a lease.
Part of what a log means: the same on every node, never changed."""

# -- batches and slots ---------------------------------------------------------
BATCH_BYTES_SOFT: Final = 512 * KIB
"""A batch is closed once it holds this much; one command may go over it."""
BATCH_COMMANDS_MAX: Final = 4096
"""A batch is closed at this many commands, so that applying it stays short."""
BATCHES_IN_FLIGHT: Final = 4
"""Batches of one node sent and not yet applied; more wait and grow together."""
GROUP_COMMANDS_MAX: Final = 1024
"""Commands of one connection handed over as one group, answered as one."""
QUEUE_COMMANDS_MAX: Final = 200_000
"""Commands waiting in one node; past it clients are told OVERLOADED."""
QUEUE_BYTES_MAX: Final = 64 * MIB
"""Bytes of commands waiting in one node; past it OVERLOADED."""
ALPHA: Final = 64
"""Slots open at once, and the distance at which a new configuration governs."""
VALUE_OF_SLOT_BYTES_MAX: Final = 3 * MIB
"""Largest value of one slot: a soft-closed batch and one largest command."""
FRAME_BYTES_MAX: Final = 8 * MIB
"""Largest frame between peers. A longer one closes the link."""
MESSAGE_BYTES_SOFT: Final = 1 * MIB
"""Messages with many values are cut once they hold this much."""
PULLED_SLOTS_MAX: Final = 4096
"""Chosen slots asked for at once where nobody says how many there are; as many come as fit."""
AHEAD_BYTES_MAX: Final = 64 * MIB
"""Votes kept in memory above the chosen prefix; past it a node does not vote."""
UNSAVED_BYTES_MAX: Final = 64 * MIB
"""Values handed to the disk and not yet on it; past it a node neither votes nor proposes."""
PEER_QUEUE_BYTES_MAX: Final = 32 * MIB
"""Bytes waiting for one peer; past it messages are dropped (Paxos resends)."""
PEER_WRITE_BYTES_SOFT: Final = 256 * KIB
"""Frames are joined up to this much for one write, so that encrypting stays short."""
HELLO_BYTES_MAX: Final = 4 * KIB
"""Largest first frame of a link: names and numbers, nothing else."""
GREETINGS_MAX: Final = 64
"""Connections to the peer port that have not said Hello; past it the oldest is closed."""

# -- times -----------------------------------------------------------------------
TICK_SECONDS: Final = 0.02
"""How often the core is told the time."""
BEAT_SECONDS: Final = 0.06
"""How often a leader renews its lease."""
LEASE_SECONDS: Final = 0.35
"""How long an acceptor that answered a beat promises nothing to anyone else."""
CLOCK_DRIFT_MAX: Final = 0.02
"""How far two clocks' rates may differ; a lease is used that much shorter."""
ELECTION_SPREAD_SECONDS: Final = 0.2
"""A candidate waits one lease and a random part of this."""
FOUNDING_SECONDS: Final = 3.0
"""How long a node that remembers nothing waits for links with all whom it was told of before it
stands for election: it may have lost its disk, and one of them know better."""
WITNESS_SECONDS: Final = 1.0
"""How often nodes tell and keep what they heard the others say to be on their disks."""
RETRY_SECONDS: Final = 0.15
"""After this long without an answer a message is sent again."""
FETCH_AGAIN_SECONDS_MAX: Final = 2.4
"""The longest wait before old slots are asked for again: a slow line takes that for a message."""
REQUEST_SECONDS: Final = 3.0
"""After this long a request is answered UNAVAILABLE or UNKNOWN."""

# -- links between nodes -----------------------------------------------------------
DIAL_SECONDS: Final = 2.0
"""How long a connection to a peer may take to be made."""
GREETING_SECONDS: Final = 3.0
"""How long a connection may take until its Hello; a TLS handshake is a few round trips."""
REDIAL_SECONDS_MIN: Final = 0.05
"""The first wait before a peer is dialled again; each failure doubles it."""
REDIAL_SECONDS_MAX: Final = 1.0
"""The longest such wait: a restarted node is reached about so soon."""
LATE_DIAL_SECONDS: Final = 1.5
"""After so long without a link the node that waits to be dialled dials: it may not be known."""
SILENCE_SECONDS: Final = 5.0
"""A link on which nothing came for so long is closed; each end says something every fifth."""
PARTING_SECONDS: Final = 1.0
"""How long the other end may take to close a connection that this end has closed."""

# -- journal ---------------------------------------------------------------------
IMAGE_EVERY_BYTES: Final = 64 * MIB
"""The store is imaged after this much log, or as much as the last image."""
LOG_BYTES_KEPT: Final = 256 * MIB
"""Chosen log kept for peers that were away, beyond what a restart needs."""
RECENT_BYTES_MAX: Final = 16 * MIB
"""Chosen values kept in memory for peers a little behind."""

DISK_LOOK_SECONDS: Final = 2.0
"""How often a node whose disk failed looks whether it works again."""
DISK_LOOK_SECONDS_MAX: Final = 60.0
"""The same after attempts to write the journal anew that failed: each is as much work as that is
large, so the pause doubles."""
DISK_PROBE_BYTES: Final = 1 * MIB
"""What is written and synced to see whether a disk works, and what must be free beside a copy."""
DISK_SLOW_SECONDS: Final = 1.0
"""A disk that has finished nothing for so long though something waits is told of as slow."""
DISK_PATIENCE_SECONDS: Final = 2.0
"""After so long a leader with such a disk lets another one lead: its votes are not missed, but
what waits for its disk fills its memory, and then it proposes nothing more."""

# -- digests -----------------------------------------------------------------------
COMPARE_SECONDS: Final = 1.0
"""How often a voter tells the others what its store came to, if that is something new."""
COMPARE_PATIENCE_SECONDS: Final = 3.0
"""How long a node that differs from some waits to hear the others, where these could outweigh
them. Each says something every second while there are writes."""
DIGESTS_KEPT: Final = 1024
"""Slots of which a node remembers what its store came to, and as many multiples of the next: a
node that is further behind compares when it has come to what it was told."""
DIGEST_SLOTS: Final = 256
"""Stores are surveyed, value by value, after slots that are multiples of this; large ones after
multiples of a multiple. Part of what nodes compare: the same on every node."""
SURVEY_NODES_PER_SLOT: Final = 8
"""How many nodes, sessions and locks a survey may look at for each slot since the one before. The
same on every node."""
# -- images between nodes ----------------------------------------------------------
IMAGE_PIECES_AHEAD: Final = 8
"""Pieces of an image that are sent before the first of them is known to be on the other's disk. A
piece is 64 KiB, but for a large value: so much takes memory at either end."""
IMAGE_AGAIN_SECONDS: Final = 0.5
"""After this long without a piece it is asked for again."""
IMAGE_FIRST_SECONDS: Final = 0.5
"""After this long without a first piece another node is asked; twice as long when all were."""
IMAGE_SILENCE_SECONDS: Final = 2.0
"""After this long without a further piece, though there is a link, another node is asked for
another image."""
IMAGE_UNLINKED_SECONDS: Final = 5.0
"""The same where there is no link: most often it is back by then, and nothing is lost."""
IMAGE_HELD_SECONDS: Final = 10.0
"""How long a node keeps an image of which nobody asks for more; until then a lost link costs no
more than the time for which it was lost."""

# -- the client ---------------------------------------------------------------------
CLIENT_REQUESTS_MAX: Final = 4096
"""Requests of a client on the wire at once; more wait in the client and are certainly unsent."""
CLIENT_EVENTS_MAX: Final = 1024
"""Events kept for a watch that nobody takes; past it the client stops reading."""
CLIENT_EVENTS_BYTES_MAX: Final = 4 * MIB
"""Bytes of such events."""
CLIENT_STALL_SECONDS: Final = 0.5
"""How long a watch that nobody takes from may stop the reading; then it leaves, and begins again
where it was once its events are taken."""
CLIENT_PING_SECONDS: Final = 1.0
"""How often a client asks its server for a sign of life."""
CLIENT_SILENCE_SECONDS: Final = 3.0
"""A server silent for this long is left."""
CLIENT_SECRET_SECONDS: Final = 25.0
"""How long a server may look at a secret: after failures it takes its time."""
CLIENT_QUORUM_SECONDS: Final = 5.0
"""How often a client with watches asks whether its server still hears a majority."""
CLIENT_REFRESH_REVISIONS: Final = HISTORY_REVISIONS // 8
"""How far a quiet watch may fall behind before it makes sure that nothing happened."""
CLIENT_REFRESH_SECONDS: Final = 10.0
"""How long it waits for that: longer than any silence of a server that lives."""
CLIENT_PAGE_ROWS: Final = 1000
"""Rows of one page of a walk in pages."""
REPLY_LINE_BYTES_MAX: Final = 128 * KIB
"""Longest line of a reply, the longest paths and inline values with all their escapes."""
LITERAL_BYTES_MAX: Final = 64 * MIB
"""Longest literal of a reply; a larger one comes from no node."""

assert 4 * PATH_BYTES_MAX <= LINE_BYTES_MAX
assert CLIENT_PING_SECONDS < CLIENT_SILENCE_SECONDS < CLIENT_REFRESH_SECONDS
assert CLIENT_STALL_SECONDS < CLIENT_SILENCE_SECONDS
assert 3 * PATH_BYTES_MAX + INLINE_VALUE_BYTES_MAX < REPLY_LINE_BYTES_MAX
assert SKIPPED_BYTES_MAX <= LITERAL_BYTES_MAX
assert BATCH_BYTES_SOFT + VALUE_BYTES_MAX + LINE_BYTES_MAX < VALUE_OF_SLOT_BYTES_MAX
assert MESSAGE_BYTES_SOFT + VALUE_OF_SLOT_BYTES_MAX < FRAME_BYTES_MAX
assert HELLO_BYTES_MAX < PEER_WRITE_BYTES_SOFT < FRAME_BYTES_MAX
assert REDIAL_SECONDS_MIN <= REDIAL_SECONDS_MAX < LATE_DIAL_SECONDS < SILENCE_SECONDS
assert FRAME_BYTES_MAX <= PEER_QUEUE_BYTES_MAX <= AHEAD_BYTES_MAX
assert VALUE_OF_SLOT_BYTES_MAX < UNSAVED_BYTES_MAX
assert BATCHES_IN_FLIGHT <= ALPHA
assert DISK_SLOW_SECONDS <= DISK_PATIENCE_SECONDS < REQUEST_SECONDS
assert 2 * COMPARE_SECONDS < COMPARE_PATIENCE_SECONDS
assert ALPHA < DIGEST_SLOTS < DIGESTS_KEPT
assert IMAGE_AGAIN_SECONDS < IMAGE_SILENCE_SECONDS < IMAGE_UNLINKED_SECONDS < IMAGE_HELD_SECONDS
assert RETRY_SECONDS < FETCH_AGAIN_SECONDS_MAX < REQUEST_SECONDS
assert TRANSACTION_BYTES_MAX + LINE_BYTES_MAX <= VALUE_OF_SLOT_BYTES_MAX - BATCH_BYTES_SOFT
assert TRANSACTION_BYTES_MAX <= TRANSACTIONS_BYTES_MAX
assert LEASE_SECONDS < SESSION_SECONDS_MIN <= SESSION_SECONDS <= SESSION_SECONDS_MAX
assert RENEW_SECONDS + TICK_SECONDS < EXPIRY_GRACE_SECONDS < SESSION_SECONDS_MIN
assert LAPSING_NODES_MAX <= SESSION_NODES_MAX <= DELETE_NODES_MAX
assert ACL_BYTES_MAX <= VALUE_BYTES_MAX
assert 3 * BEAT_SECONDS < LEASE_SECONDS * (1 - CLOCK_DRIFT_MAX)
assert PIPELINE_REQUESTS_MAX < QUEUE_COMMANDS_MAX
assert GROUP_COMMANDS_MAX <= BATCH_COMMANDS_MAX
