"""The page as HTML: whole, and the two parts of it that are replaced while it is open.

Everything that is not written here goes through `escape`. The page needs no script to be read;
with one it stays as things are.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from coord.frontends.web.looking import Place, View
from coord.frontends.web.subjects import Subjects

VALUE_LETTERS_MAX: Final = 120
"""Of a value among others."""
VALUE_BYTES_MAX: Final = 16 * 1024
"""Of the value of the place that is looked at."""

DUMP_BYTES_MAX: Final = 1024
"""Of one that is no text."""

STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1c2430; --dim: #66707f; --line: #dfe3e8; --paper: #fff;
  --shade: #f5f7f9; --link: #0b5cad; --well: #1a7f4b; --ill: #c02b2b }
@media (prefers-color-scheme: dark) { :root { --ink: #d8dee6; --dim: #8b95a3; --line: #2c343f;
  --paper: #12161c; --shade: #1a2028; --link: #78b4f2; --well: #5cc98c; --ill: #f08080 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
code, pre { font: .875rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .9rem; overflow: auto; max-height: 24rem; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .5rem 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 500; font-size: .8rem; color: var(--dim) }
th, td { padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap }
td.v { width: 100%; white-space: normal; overflow-wrap: anywhere }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem;
  margin: 0 }
.facts div { background: var(--shade); border: 1px solid var(--line); border-radius: 6px;
  padding: .45rem .7rem }
.facts dt { font-size: .8rem; color: var(--dim) }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
.dim { color: var(--dim) } .well { color: var(--well) } .ill { color: var(--ill) }
.trouble { border-left: 3px solid var(--ill); padding: .4rem .9rem; background: var(--shade) }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline;
  margin-bottom: 1.2rem }
footer { margin-top: 2.5rem; font-size: .85rem; color: var(--dim) }
"""

SCRIPT: Final = """\
const live = document.getElementById("live");
const events = new EventSource("/events" + location.pathname);
for (const name of ["cluster", "tree"])
  events.addEventListener(name, event => {
    document.getElementById(name).innerHTML = event.data;
  });
events.onopen = () => { live.textContent = "live"; };
events.onerror = () => { live.textContent = "not live: this node is not reached"; };
"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY: Final = (
    f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do with the page: run the one script, and ask this node."""


def page(subjects: Subjects, tree: str, title: str) -> str:
    """Return the whole page around its second part."""
    identity = subjects.account.identity
    whose = escape(f"{identity.node} of {identity.cluster}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - coord, {whose}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header><h1><a href="/">coord</a></h1><span>{whose}</span>
<span class="dim" id="live">as of when it was loaded</span></header>
<main>
<section id="cluster">
{cluster(subjects)}</section>
<section id="tree">
{tree}</section>
</main>
<footer><a href="/metrics">metrics</a> &middot; <a href="/health">health</a> &middot;
Nothing can be changed here: that is what the line protocol is for.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def cluster(subjects: Subjects) -> str:
    """Return the first part: this node, and the cluster as it sees it."""
    account = subjects.account
    trouble, figures = account.trouble(), account.figures()
    warning = f'<p class="trouble">{escape(trouble)}</p>\n' if trouble else ""
    state = '<span class="ill">does not serve</span>' if trouble else "serves"
    facts = [
        ("state", state),
        ("role", escape(account.replica.role)),
        ("leader", escape(account.replica.leader or "none known")),
        ("revision", _number(figures["revision"])),
        ("slot", _number(figures["slot"])),
        ("nodes in the tree", _number(figures["tree_nodes"])),
        ("clients", _number(subjects.clients.connections)),
        ("watches", _number(figures["watches"])),
        ("up", _age(account.uptime())),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{shown}</dd></div>" for name, shown in facts)
    rows = "".join(_member(row, account.remarks) for row in account.members().rows)
    return (
        f'{warning}<dl class="facts">{cells}</dl>\n<h2>Members</h2>\n'
        '<div class="wide"><table><tr><th>node</th><th>address</th><th>part</th>'
        f"<th>from here</th><th></th></tr>{rows}</table></div>\n"
    )


def _member(row: str, remarks: Callable[[str], Sequence[str]]) -> str:
    node, *others, state = row.split(" ")
    look = "well" if state == "up" else "ill"
    beside = escape(", ".join(remarks(node)))
    cells = "".join(f"<td>{escape(one)}</td>" for one in (node, *others))
    return f'<tr>{cells}<td class="{look}">{escape(state)}</td><td>{beside}</td></tr>'


def tree(view: View) -> str:
    """Return the second part: a place of the tree."""
    place = view.place
    parts = [f"<h2>{_trail(place.path)}</h2>\n"]
    if place.path != "/" and place.rev is not None:
        modified = f"changed at revision {place.rev}, made at {view.created}"
        parts.append(f'<p class="dim">{escape(modified)}</p>\n')
    if place.value is not None:
        parts.append(_whole(place.value))
    if view.below:
        parts.append(_table(view.below))
    if view.left_out > 0:
        parts.append(
            f'<p class="dim">and {_number(view.left_out)} more;'
            f" <code>WALK {escape(_glob(place.path))}</code> tells all</p>\n"
        )
    if not view.below and place.value is None:
        parts.append('<p class="dim">nothing is here yet</p>\n')
    parts.append(f'<p class="dim">as this node has it, at revision {_number(view.rev)}</p>\n')
    return "".join(parts)


def problem(text: str) -> str:
    """Return the second part where there is nothing to show."""
    return f'<p class="trouble">{escape(text)}</p>\n'


def _trail(path: str) -> str:
    """Return the path, each part of it a link to that place."""
    links = ['<a href="/tree/">/</a>']
    above = ""
    for name in filter(None, path.split("/")):
        above += f"/{name}"
        links.append(f'<a href="{_address(above)}">{escape(_visible(name))}</a>')
    return f"{links[0]} " + ' <span class="dim">/</span> '.join(links[1:])


def _table(places: Sequence[Place]) -> str:
    rows = "".join(map(_row, places))
    return (
        '<div class="wide"><table><tr><th>name</th><th class="n">revision</th>'
        f'<th class="n">below</th><th>value</th></tr>{rows}</table></div>\n'
    )


def _row(place: Place) -> str:
    below = _number(place.children) if place.children else ""
    value = "" if place.value is None else _short(place.value)
    rev = "" if place.rev is None else place.rev
    return (
        f'<tr><td><a href="{_address(place.path)}">{escape(_visible(place.name))}</a></td>'
        f'<td class="n">{rev}</td><td class="n">{below}</td><td class="v">{value}</td></tr>\n'
    )


def _short(value: bytes) -> str:
    text = _text(value[: 4 * VALUE_LETTERS_MAX], is_cut=len(value) > 4 * VALUE_LETTERS_MAX)
    if text is None:
        start = value[:16].hex(" ")
        return f'<span class="dim">{len(value)} bytes:</span> <code>{start}</code>'
    more = "..." if len(text) > VALUE_LETTERS_MAX else ""
    return f"<code>{escape(_visible(text[:VALUE_LETTERS_MAX]))}{more}</code>"


def _whole(value: bytes) -> str:
    is_cut = len(value) > VALUE_BYTES_MAX
    shown = value[:VALUE_BYTES_MAX]
    text = _text(shown, is_cut=is_cut)
    more = (
        f'<p class="dim">the first {VALUE_BYTES_MAX} of {len(value)} bytes</p>\n' if is_cut else ""
    )
    if text is None:
        rows = "\n".join(_dump(shown[:DUMP_BYTES_MAX]))
        what = f"{len(value)} bytes that are no text" + (
            "; the first:" if len(value) > DUMP_BYTES_MAX else ""
        )
        return f'<p class="dim">{what}</p>\n<pre>{escape(rows)}</pre>\n'
    return f"<pre>{escape(_visible(text, keep=chr(10) + chr(9)))}</pre>\n{more}"


def _dump(value: bytes) -> Iterable[str]:
    for start in range(0, len(value), 16):
        piece = value[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield f"{start:04x}  {piece.hex(' '):<47}  {letters}"


def _text(value: bytes, *, is_cut: bool) -> str | None:
    """Return bytes as text; None where they are none. A letter that was cut is left out."""
    for end in range(len(value), len(value) - 4 * is_cut - 1, -1):
        try:
            text = value[:end].decode()
        except UnicodeDecodeError:
            continue
        return None if "\0" in text else text
    return None


def _visible(text: str, keep: str = "") -> str:
    """Return a text whose letters can all be seen, and change nothing around them."""
    return "".join(
        letter
        if letter.isprintable() or letter in keep
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _address(path: str) -> str:
    return "/tree" + quote(path, safe="/")


def _glob(path: str) -> str:
    return "/**" if path == "/" else f"{path}/**"


def _number(number: float) -> str:
    return f"{int(number):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _age(seconds: float) -> str:
    """Return how long something is there, so coarsely that it rarely changes."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return "under a minute"
