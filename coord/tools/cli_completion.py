"""``coord completion``: what bash and zsh need to complete commands, options and paths."""

from __future__ import annotations

import argparse
from typing import Final

from coord.wire.line_members import DEEDS

SHELLS: Final = ("bash", "zsh")

_BASH: Final = r"""# Completion of coord for bash: eval "$(coord completion bash)"
_coord() {
    local current=${COMP_WORDS[COMP_CWORD]} words parent above
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="@COMMANDS@"
    elif [[ $current == -* ]]; then
        case ${COMP_WORDS[1]} in
@OPTIONS@
        esac
    elif [[ $current == /* ]]; then
        parent=${current%/*}/
        above=${parent%/}
        words=$(coord ls "${above:-/}" 2>/dev/null |
            while IFS= read -r name; do printf '%s\n' "$parent$name"; done)
        compopt -o nospace 2>/dev/null
    elif [[ ${COMP_WORDS[1]} == member ]]; then
        words="@CHANGES@ $(coord members 2>/dev/null | cut -f 1)"
    fi
    local IFS=$' \n'
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _coord coord
"""
_ZSH: Final = r"""#compdef coord
# Completion of coord for zsh: eval "$(coord completion zsh)", after compinit
_coord() {
    local current=${words[CURRENT]} parent above
    local -a found
    if (( CURRENT == 2 )); then
        found=(@COMMANDS@)
    elif [[ $current == -* ]]; then
        case ${words[2]} in
@OPTIONS@
        esac
    elif [[ $current == /* ]]; then
        parent=${current%/*}/
        above=${parent%/}
        found=(${(f)"$(coord ls "${above:-/}" 2>/dev/null)"})
        compadd -S '' -p "$parent" -- $found
        return
    elif [[ ${words[2]} == member ]]; then
        found=(@CHANGES@ ${(f)"$(coord members 2>/dev/null | cut -f 1)"})
    fi
    compadd -- $found
}
compdef _coord coord
"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the completion of one of `SHELLS` for what ``parser`` understands."""
    commands = _commands(parser)
    form = '            {}) words="{}" ;;' if shell == "bash" else "            {}) found=({}) ;;"
    options = [form.format(name, " ".join(_options(made))) for name, made in commands.items()]
    text = _BASH if shell == "bash" else _ZSH
    changes = " ".join(["plan", *sorted(DEEDS)])
    for mark, words in (
        ("@COMMANDS@", " ".join(commands)),
        ("@OPTIONS@", "\n".join(options)),
        ("@CHANGES@", changes),
    ):
        text = text.replace(mark, words)
    return text


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [
        name
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for name in action.option_strings
        if name.startswith("--")
    ]
