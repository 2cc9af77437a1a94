"""The store: a tree in which every change is a revision, as a pure state machine.

The theory, from the bottom up:

* **Keys** (`order`). Paths become text whose order is path order, so a tree is one sorted
  list, what is below a node is a stretch of it, and a write looks at nothing but
  its own node and its parents.
* **Versions** (`tree`). A node is a chain of records that never change: the present one in a
  dictionary, older ones beside it while somebody may ask for them. To read at revision N is to
  find the last record that is not newer than N. So nothing is ever copied or locked: a
  picture is a number.
* **History** (`history`). Each revision keeps its records. When it falls behind the horizon,
  the records that it replaced are dropped, unless a picture older than it is held.
* **Writes** (`writes`, `parts`, `sequences`) make revisions; **reads** (`reads`, `views`) find
  versions, a row at a time where there are many. A write that does more than change one plain
  node is tried on a **draft** (`draft`), the next revision laid over the tree; committing it
  (`state`) is the one place where the tree, its indices and the history change together.
* **Beside the tree** stand sessions (`sessions`), what they were answered (`answers`) and locks
  (`locks`). Who owns what is in the versions, so indices are all that is kept of it. Locks are
  given and taken back in `granting`, sessions begin and end in `lives`; both change nodes by
  drafts and themselves after the commit. Each such change leaves a note for the digest. What the
  owner of the store has to hear is `news`; time is its business, and comes back as a write.
* **Access** (`access`): rules are a node like any other, so each write is judged by those of the
  revision before it, on every node alike; reads, rows and events by those of their moment.
* **The log** (`log`) reads the history backwards: each record bears the mark of who made it.
* **Watches** (`watches`) follow the revisions as they come, or read the history until they
  have caught up; the two meet without a seam because both walk the same records.
* **Images** (`picture`, `image`, `restoring`). The versions at the horizon and all records since
  are the whole tree, so an image is two walks over what is there anyway; what stands beside
  it is taken down when the image begins.
* **The door** (`machine`): apply, seal, publish, answer, watch, picture.

What can differ between nodes (how long history is kept, who reads, who watches) never reaches
a write. No clock, no dice, no order of sets or hashes: time comes in with each write.
"""
