"""Every setting of every option, read from the YAML of `conf/` and the docstrings of its classes.

Nothing is imported and nothing is composed: a key's meaning is the comment at it, else what the
class behind the option's `_target_` says of the parameter of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from docstrings import Docstrings

TARGET, DEFAULTS = "_target_", "defaults"
# Hydra's own settings: its documentation explains them.
_HYDRA = "hydra"
# How a function is named: its path, looked up.
_LOOKED_UP, _METHOD = "hydra.utils.get_method", "path"
# Lists and texts above so many characters are shown by their size.
_LONGEST = 60


@dataclass(frozen=True)
class Setting:
    """One key: its dotted path inside the option, its default as written, and what it means."""

    key: str
    value: str
    meaning: str
    section: str = ""


@dataclass(frozen=True)
class Option:
    """One YAML file.

    Parameters
    ----------
    group, name : str
        As on the command line: `group=name`.
    about : str
        The comment at the head of the file.
    starts_from : tuple of str
        Entries of its `defaults`, its own place left out.
    target : str
        Dotted path of the class or function that it builds; empty where there is none.
    settings : tuple of Setting
        The file's own; those of `starts_from` come before them.
    """

    group: str
    name: str
    about: str
    starts_from: tuple[str, ...]
    target: str
    settings: tuple[Setting, ...]


def options(conf: Path, docstrings: Docstrings) -> list[Option]:
    """All options below `conf`, by group, in the order of their names.

    Raises
    ------
    yaml.YAMLError
        A file is not YAML.
    """
    return [
        read(
            path,
            "" if path.parent == conf else path.parent.relative_to(conf).as_posix(),
            docstrings,
        )
        for path in sorted(conf.rglob("*.yaml"))
    ]


def read(path: Path, group: str, docstrings: Docstrings) -> Option:
    """One file; `group` is empty for the main configuration."""
    lines = path.read_text(encoding="utf-8").splitlines()
    node = yaml.compose("\n".join(lines))
    pairs = _pairs(node)
    reader = _Reader(lines, _head(lines), docstrings)
    target = _text(pairs.get(TARGET))
    return Option(
        group,
        path.stem,
        _plain(lines[: reader.head]),
        tuple(_starts_from(pairs.get(DEFAULTS))),
        target,
        tuple(reader.settings(node, "", target)),
    )


class _Reader:
    """Walks the keys of one file."""

    def __init__(self, lines: list[str], head: int, docstrings: Docstrings) -> None:
        self.lines, self.head, self.docstrings = lines, head, docstrings
        self.section = ""
        self.source = "\n".join(lines)

    def settings(self, node: yaml.Node | None, prefix: str, target: str) -> Iterator[Setting]:
        """Settings at and below a mapping; `target` is the class that its keys are given to."""
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            path, comment = f"{prefix}{key.value}", self._comment(key, value)
            if key.value == DEFAULTS or path == TARGET or (path == _HYDRA and not target):
                continue
            meaning = comment or self.docstrings.parameter(target, key.value)
            if key.value in (TARGET, _METHOD):
                meaning = meaning or self.docstrings.about(_text(value)).split("\n\n")[0]
            if _text(value) == _LOOKED_UP:
                meaning = "The function of that path is given as it is."
            below = _pairs(value)
            if not below or (target and self._is_data(value, bool(meaning))):
                yield Setting(path, _shown(value, self.source), meaning, self.section)
                continue
            if meaning:
                yield Setting(path, "", meaning, self.section)
            yield from self.settings(value, f"{path}.", _text(below.get(TARGET)) or target)

    def _is_data(self, node: yaml.Node, explained: bool) -> bool:
        """A mapping that is one value: written in one line, or explained as a whole alone."""
        written = self.source[node.start_mark.index : node.end_mark.index]
        whole = explained and "#" not in written and TARGET not in written
        return _in_one_line(node) or whole

    def _comment(self, key: yaml.Node, value: yaml.Node) -> str:
        """Comment lines right above the key, at its depth, and what follows the value."""
        row, column = key.start_mark.line, key.start_mark.column
        above: list[str] = []
        for place in range(row - 1, self.head - 1, -1):
            line = self.lines[place]
            if not line.strip().startswith("#") or len(line) - len(line.lstrip()) != column:
                break
            if line.strip().startswith("# ---"):
                self.section = line.strip("# -")
                break
            above.insert(0, line)
        behind = ""
        if isinstance(value, yaml.ScalarNode) and value.end_mark.line == row:
            behind = self.lines[row][value.end_mark.column :]
        return _plain([*above, behind] if behind.strip().startswith("#") else above)


def _head(lines: list[str]) -> int:
    """Number of lines that the comment at the head of a file has."""
    for number, line in enumerate(lines):
        if not line.startswith("#"):
            return number
    return len(lines)


def _plain(lines: list[str]) -> str:
    words = [line.strip().removeprefix("#").strip() for line in lines]
    return " ".join(word for word in words if word and not word.startswith("@package")).strip()


def _pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value}


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _starts_from(node: yaml.Node | None) -> Iterator[str]:
    """Entries of a defaults list as `group=option`, or the option alone within its own group."""
    for entry in node.value if isinstance(node, yaml.SequenceNode) else ():
        pairs = _pairs(entry)
        if not pairs and entry.value != "_self_":
            yield entry.value
        for group, option in pairs.items():
            yield f"{group}={option.value}"


def _shown(node: yaml.Node, source: str) -> str:
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        if text == "???":
            return "required"
        if "\n" in text or len(text) > _LONGEST:
            return f"(text, {len(text.split())} words)"
        return text if text or node.style is None else "''"
    written = " ".join(source[node.start_mark.index : node.end_mark.index].split())
    if _in_one_line(node) and len(written) <= _LONGEST:
        return written
    kind = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
    return f"({kind} of {len(node.value)})"


def _in_one_line(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)
