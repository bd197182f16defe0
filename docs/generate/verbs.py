"""The command lines of the package, as their own `--help` has them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

_WIDTH = "100"
_ROOT = Path(__file__).resolve().parents[2]
MAIN = "lalm_bench"


@dataclass(frozen=True)
class Verb:
    """One command (`python -m lalm_bench.data check`) and its help."""

    command: str
    help: str


def modules(package: Path) -> list[str]:
    """What `python -m` can start: packages with a `__main__`, and modules that end in one."""
    packages = [path.parent for path in package.rglob("__main__.py")]
    alone = [
        path
        for path in package.rglob("*.py")
        if path.name != "__main__.py" and '__name__ == "__main__"' in path.read_text("utf-8")
    ]
    found = [*packages, *(path.with_suffix("") for path in alone)]
    names = [".".join(path.relative_to(package.parent).parts) for path in found]
    return sorted(name for name in names if name != "lalm_bench.cli")


def verbs(module: str) -> Iterator[Verb]:
    """The command itself, each of its verbs, and theirs."""
    os.environ["COLUMNS"] = _WIDTH
    parser = parser_of(module)
    if parser is None:
        yield Verb(f"python -m {module}", _asked(module))
        return
    yield from _below(f"python -m {module}", parser)


def _below(command: str, parser: argparse.ArgumentParser) -> Iterator[Verb]:
    yield Verb(command, parser.format_help())
    for name, sub in subcommands(parser).items():
        yield from _below(f"{command} {name}", sub)


def parser_of(module: str) -> argparse.ArgumentParser | None:
    """The parser of a command line that says where it is, else None."""
    place = f"{module}.__main__"
    path = Path(*place.split("."))
    source = _ROOT / path.with_suffix(".py")
    if module == MAIN or not source.is_file() or "def _parser(" not in source.read_text("utf-8"):
        return None
    if str(_ROOT) not in sys.path:  # mkdocs puts it back after loading the hook
        sys.path.insert(0, str(_ROOT))
    parser: argparse.ArgumentParser = import_module(place)._parser()
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Verb -> its parser; argparse keeps them in an action without a public name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _asked(module: str) -> str:
    path = os.pathsep.join(p for p in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": _WIDTH},
    ).stdout
