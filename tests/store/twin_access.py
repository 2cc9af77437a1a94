"""Who may do what, for the twin: every rule is read again for every question."""

from __future__ import annotations

from coord.commands import Caller, Level
from tests.test_paths import naive_matches

LEVELS = {"read": Level.READ, "write": Level.WRITE, "admin": Level.ADMIN}


class Access:
    """The rules as they are, before one caller."""

    def __init__(self, text: bytes | None, caller: Caller) -> None:
        self.caller = caller
        self.rules = self.parse(text or b"") or []

    @staticmethod
    def is_text_of_rules(value: bytes) -> bool:
        """Say whether every line is a rule, a comment or empty."""
        return Access.parse(value) is not None

    @staticmethod
    def parse(value: bytes) -> list[tuple[str, Level, str]] | None:
        """Return who, what and glob of each rule; ``None`` where a line is none."""
        rules = []
        for line in value.decode().split("\n"):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) == 4 and words[1] == "may":
                del words[1]
            if len(words) != 3 or words[1] not in LEVELS or not words[2].startswith("/"):
                return None
            rules.append((words[0], LEVELS[words[1]], words[2]))
        return rules

    def level(self, path: str) -> int:
        """Return what the caller may do at a path."""
        if self.caller.level >= Level.ADMIN:
            return Level.ADMIN
        if not self.rules:
            return self.caller.level
        granted = [
            level
            for who, level, glob in self.rules
            if who in (self.caller.who, "*") and naive_matches(glob, path)
        ]
        return max(granted, default=Level.NONE)

    def may_read(self, path: str) -> bool:
        """Say whether the caller may read a node."""
        return self.level(path) >= Level.READ

    def is_shut(self) -> bool:
        """Say whether the caller may read nothing anywhere."""
        if self.caller.level >= Level.ADMIN or not self.rules:
            return self.caller.level < Level.READ
        return not any(who in (self.caller.who, "*") for who, _, _ in self.rules)

    def may_write(self, path: str) -> bool:
        """Say whether the caller may write a node."""
        if path == "/ctl/acl":
            return self.level(path) >= Level.ADMIN
        if path == "/ctl" or path.startswith("/ctl/"):
            return False
        return self.level(path) >= Level.WRITE

    def may_list(self, path: str) -> bool:
        """Say whether the caller sees that there is such a child."""
        below = path.rstrip("/") + "/"
        return self.may_read(path) or any(
            self.prefix(glob) == path or self.prefix(glob).startswith(below)
            for who, _, glob in self.rules
            if who in (self.caller.who, "*") and self.caller.level < Level.ADMIN
        )

    @staticmethod
    def prefix(glob: str) -> str:
        """Return the path that all matches of a glob lie at or below."""
        if "*" not in glob and "?" not in glob:
            return glob
        kept: list[str] = []
        for name in glob.split("/")[1:]:
            if "*" in name or "?" in name:
                break
            kept.append(name)
        return "/" + "/".join(kept)
