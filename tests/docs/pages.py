"""Code blocks, headings and links of the Markdown that people read."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_HOOK = ROOT / "docs" / "generate" / "pages.py"
_FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.M | re.S)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block; `title` is the file that it shows, if any."""

    language: str
    title: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, rest, body = match.groups()
        title = _TITLE.search(rest)
        body = "\n".join(line.removeprefix(indent) for line in body.split("\n"))
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, title[1] if title else "", body, line))
    return found


def commands(path: Path) -> list[tuple[int, list[str]]]:
    """(line, words) of every command in the bash blocks and behind the prompts of consoles."""
    found = []
    for block in blocks(path):
        if block.language not in ("bash", "console"):
            continue
        line = block.line
        for text in block.text.replace("\\\n", " \0").split("\n"):
            line += 1
            if block.language == "bash" or text.startswith("$ "):
                plain = text.replace("\0", "").removeprefix("$ ")
                if words := shlex.split(plain, comments=True):
                    found.append((line, words))
            line += text.count("\0")
    return found


def prose(path: Path) -> str:
    """The page without its code."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", "`code`", text)


@cache
def reference() -> ModuleType:
    """The hook that makes the reference, loaded as mkdocs loads it."""
    spec = importlib.util.spec_from_file_location("reference_pages", _HOOK)
    module = importlib.util.module_from_spec(spec)
    before = sys.path.copy()
    sys.path.insert(0, str(_HOOK.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module
