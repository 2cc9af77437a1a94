"""The rules of the house, held by the machine: see ``CONTRIBUTING.rst``.

A rule that turns out wrong is changed here in the open, with a page in ``doc/decisions``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from coord.errors import CATALOGUE
from coord.node.options import OPTIONS
from coord.verbs import VERBS

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
BANNED = {
    "manager", "handler", "processor", "engine", "helper", "helpers",
    "util", "utils", "common", "data", "info",
}  # fmt: skip
TWISTED_SAYS = {
    # names that Twisted or the standard library chose, met only in what we override
    "dataReceived", "rawDataReceived", "lineReceived", "data", "sendExtInfo",
    "childDataReceived",
}  # fmt: skip
MAY_NAME_THE_REACTOR = {"coord/node/tap.py"}
"""Who may import the reactor, beside programs under ``coord/tools``."""
MACHINE = re.compile(r"/(?:work|root|opt|home/\w+|tmp/\w)[/\w]*")


@attrs.frozen
class Module:
    """One module of ours: where it is, what it says, and what it is made of."""

    name: str
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Return every function and method in it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def modules(*folders: str) -> list[Module]:
    """Return all modules below the folders given."""
    return [
        Module(str(path.relative_to(ROOT)), text, ast.parse(text))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in [path.read_text(encoding="utf-8")]
    ]


OURS = modules("coord", "twisted")
TESTS = modules("tests")


def words(name: str) -> set[str]:
    """Return the words of a name, however they are joined."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Return the definitions that others see: those of a module or class, down its classes."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body)


def is_overload(node: ast.AST) -> bool:
    """Say whether a definition repeats one that has its words already."""
    decorators = getattr(node, "decorator_list", [])
    return any(
        ast.unparse(one).endswith((".setter", ".deleter")) or "overload" in ast.unparse(one)
        for one in decorators
    )


def documentation() -> str:
    """Return all that stands in the pages."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "doc").rglob("*.rst"))


class Sizes(SynchronousTestCase):
    """What fits a screen is read; what does not is trusted."""

    def test_functions(self) -> None:
        """No function is longer than two screens."""
        long = [
            f"{module.name}:{node.lineno} {node.name}"
            for module in OURS + TESTS
            for node in module.functions()
            if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
        ]
        self.assertEqual(long, [])

    def test_modules(self) -> None:
        """No module is longer than can be kept in mind."""
        long = [
            f"{module.name}: {lines} lines"
            for module in OURS + TESTS
            if (lines := module.text.count("\n")) > MODULE_LINES_MAX
        ]
        self.assertEqual(long, [])


class Words(SynchronousTestCase):
    """Names that say nothing are not used, and what is public says what it is."""

    def test_names(self) -> None:
        """No module, class, function or parameter is called by a word that fits anything."""
        found = []
        for module in OURS:
            names = [part for part in Path(module.name).with_suffix("").parts if part != "coord"]
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    names.append(node.name)
                elif isinstance(node, ast.arg):
                    names.append(node.arg)
            found += [
                f"{module.name}: {name}"
                for name in names
                if words(name) & BANNED and name not in TWISTED_SAYS
            ]
        self.assertEqual(found, [])

    def test_docstrings(self) -> None:
        """Everything public says in a sentence what it is."""
        silent = [module.name for module in OURS + TESTS if not ast.get_docstring(module.tree)]
        silent += [
            f"{module.name}:{node.lineno} {node.name}"
            for module in OURS
            for node in public(module.tree.body)
            if not ast.get_docstring(node) and not is_overload(node)
        ]
        self.assertEqual(silent, [])

    def test_tests_speak(self) -> None:
        """Every test says in a sentence what a user can count on."""
        silent = [
            f"{module.name}:{node.lineno} {node.name}"
            for module in TESTS
            for node in module.functions()
            if node.name.startswith("test_") and not ast.get_docstring(node)
        ]
        self.assertEqual(silent, [])


class Doors(SynchronousTestCase):
    """What the world is reached by."""

    def test_reactor(self) -> None:
        """Nobody but the programs that people start imports the global reactor."""
        found = [
            f"{module.name}:{node.lineno}"
            for module in OURS
            if module.name not in MAY_NAME_THE_REACTOR
            and not module.name.startswith("coord/tools/")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom | ast.Import) and "reactor" in ast.unparse(node)
        ]
        self.assertEqual(found, [])

    def test_no_pickle(self) -> None:
        """Nothing that comes over a wire or from a disk is ever executed."""
        found = [
            f"{module.name}:{node.lineno}"
            for module in OURS
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
            and re.search(r"\b(pickle|marshal|shelve)\b", ast.unparse(node))
        ]
        self.assertEqual(found, [])

    def test_plugin_folder(self) -> None:
        """The folder of the plugin is no package: it belongs to Twisted."""
        for folder in ("twisted", "twisted/plugins"):
            self.assertFalse((ROOT / folder / "__init__.py").exists())

    def test_machine_paths(self) -> None:
        """Nothing names a path of the machine on which it was written."""
        found = [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for path in self.files()
            if path != Path(__file__)
            for match in [MACHINE.search(path.read_text(encoding="utf-8"))]
            if match
        ]
        self.assertEqual(found, [])

    def files(self) -> Iterator[Path]:
        """Return every text of the checkout that is ours."""
        for name in ("coord", "tests", "twisted", "doc", "bin", ".ci"):
            for path in (ROOT / name).rglob("*"):
                if path.is_file() and path.suffix not in (".pyc", ".cache"):
                    yield path
        for path in ROOT.glob("*.*"):
            if path.suffix in (".py", ".toml", ".rst"):
                yield path


class Pages(SynchronousTestCase):
    """What a user can type or be told is explained."""

    def test_verbs(self) -> None:
        """Every verb of the line protocol is in the pages."""
        pages = documentation()
        self.assertEqual([one.name for one in VERBS if f"``{one.name}" not in pages], [])

    def test_errors(self) -> None:
        """Every error code is in the pages."""
        pages = documentation()
        self.assertEqual([code for code in CATALOGUE if f"``{code}``" not in pages], [])

    def test_options(self) -> None:
        """Every option of a node is in the pages."""
        pages = documentation()
        self.assertEqual([one.name for one in OPTIONS if f"``--{one.name}" not in pages], [])
