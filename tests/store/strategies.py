"""What tests of the store draw: few names, so that writes meet each other."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from coord.commands import Add, Delete, Set

CALM = settings(derandomize=True, deadline=None, max_examples=60)

names = st.sampled_from(["a", "b", "a!", "a\x01", "é"])
some_paths = st.lists(names, max_size=3).map(lambda parts: "/" + "/".join(parts))
refused_paths = st.sampled_from(["/ctl", "/ctl/a", "/"])
values = st.binary(max_size=2)
if_revs = st.none() | st.integers(0, 12)
globs = st.sampled_from(
    ["/**", "/*", "/a", "/a/**", "/a/*", "/?", "/*/b", "/**/b", "/a/b/**", "/a*", "/b/a/?", "/"]
)

sets = st.builds(Set, some_paths, values, if_revs)
adds = st.builds(Add, some_paths, values, st.booleans())
deletes = st.builds(Delete, some_paths, if_revs, st.booleans())
refused = st.builds(Set, refused_paths.filter(lambda path: path != "/"), values) | st.builds(
    Delete, refused_paths, st.none(), st.booleans()
)
writes = sets | sets | adds | deletes | deletes | refused
