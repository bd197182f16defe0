"""What classes say of their parameters, read from their source: torch is not needed for a page."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

_PARAMETER = re.compile(r"(?m)^([\w, ]+?)(?: :.*)?\n((?:[ ]{4}.*\n?|\n)+)")
_SECTION = re.compile(r"(?m)^(\w[\w ]*)\n-{3,}\n")


class Docstrings:
    """Docstrings of the classes and functions below some folders.

    Parameters
    ----------
    roots : path
        Folders that packages lie in.
    """

    def __init__(self, *roots: Path) -> None:
        self._roots = roots
        self._module = cache(self._read_module)

    def about(self, target: str) -> str:
        """First paragraphs of the docstring, to the first section; empty where there is none."""
        node, _ = self._find(target)
        text = ast.get_docstring(node) if node else None
        return _SECTION.split(text)[0].strip() if text else ""

    def parameter(self, target: str, name: str) -> str:
        """What the class behind `target`, or one it inherits from, says of a parameter."""
        node, module = self._find(target)
        if node is None:
            return ""
        if found := _parameters(ast.get_docstring(node) or "").get(name):
            return found
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            if found := self.parameter(self._resolved(base, module), name):
                return found
        return ""

    def _find(self, target: str) -> tuple[ast.ClassDef | ast.FunctionDef | None, str]:
        """The definition, and the module that holds it; packages are followed to their modules."""
        module, _, name = target.rpartition(".")
        tree = self._module(module) if module else None
        for node in tree.body if tree else ():
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return node, module
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self._find(f"{node.module}.{alias.name}")
        return None, module

    def _resolved(self, base: ast.expr, module: str) -> str:
        return f"{module}.{base.id}" if isinstance(base, ast.Name) else ""

    def _read_module(self, name: str) -> ast.Module | None:
        for root in self._roots:
            place = root.joinpath(*name.split("."))
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file():
                    return ast.parse(path.read_text(encoding="utf-8"))
        return None


def _parameters(docstring: str) -> dict[str, str]:
    """Name -> meaning, of a numpy-style docstring."""
    parts = _SECTION.split(inspect.cleandoc(docstring))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    found: dict[str, str] = {}
    for names, meaning in _PARAMETER.findall(sections.get("Parameters", "") + "\n"):
        for name in names.split(","):
            found[name.strip()] = " ".join(meaning.split())
    return found
