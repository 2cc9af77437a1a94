"""How a line looks on a terminal: what is well green, what is not red, names of figures dim.

And what must never reach one: a value may hold anything, also what would make a terminal do
things, so control characters are shown as what they are called.
"""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_STYLES: Final = {
    "well": "\x1b[32m",
    "ill": "\x1b[31m",
    "lead": "\x1b[1;36m",
    "path": "\x1b[34m",
    "dim": "\x1b[2m",
}
_NORMAL: Final = "\x1b[0m"
_WORDS: Final = re.compile(
    r"(?P<ill>\b(?:down|lost|no quorum|does not serve|candidate|del|ERR"
    r"|[A-Z]{3,}(?:_[A-Z]+)*(?=:))\b)"
    r"|(?P<well>\b(?:serves|set)\b|(?<=[a-z] )up\b(?! \d))"
    r"|(?P<lead>\b(?:leader|leads)\b)"
    r"|(?P<path>(?:(?<=\s)|^)/\S*)"
    r"|(?P<dim>\b[a-z]+=)"
)


def clean(text: str) -> str:
    """Return a text with nothing in it that a terminal would obey."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def paint(line: str) -> str:
    """Return a clean line with colours."""
    return _WORDS.sub(lambda found: f"{_STYLES[str(found.lastgroup)]}{found[0]}{_NORMAL}", line)


def plain(line: str) -> str:
    """Return a line as it is."""
    return line
