"""The reference pages as Markdown, by their place in `docs/`. mkdocs calls `on_files`."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# mkdocs loads a hook with its folder on the path.
from docstrings import Docstrings
from inherited import with_inherited
from settings import Option, Setting, options
from verbs import modules, verbs

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = "reference/commands.md"
_MAIN = "config"
# Where the keys of a group stand, unless in a place of the group's own name.
_PREFIX = {"": "", "experiment": "", "protocol": "", "recover": "", "task/audiomarathon": "task."}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, under Reference."""
    for entry in config.nav or ():
        if "Reference" in entry:
            entry["Reference"] += [{_title(group): place(group)} for group in groups()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; nothing is written to disk."""
    from mkdocs.structure.files import File

    for where, text in pages().items():
        files.append(File.generated(config, where, content=text))
    return files


def places() -> set[str]:
    """Where the generated pages are, without making them."""
    return {COMMANDS, *map(place, groups())}


def groups() -> list[str]:
    """Config groups; the main configuration is the empty one, and comes first."""
    conf, more = ROOT / "conf", ROOT / "launchers"
    folders = {path.parent.relative_to(conf) for path in conf.rglob("*.yaml")} - {Path()}
    folders |= {path.parent.relative_to(more) for path in more.rglob("*.yaml")}
    return ["", *sorted(folder.as_posix() for folder in folders)]


def place(group: str) -> str:
    """Page of a group."""
    return f"reference/{(group or _MAIN).replace('/', '-')}.md"


def pages() -> dict[str, str]:
    """All generated pages."""
    docstrings = _docstrings()
    by_group: dict[str, list[Option]] = defaultdict(list)
    for option in everything():
        by_group[option.group].append(option)
    made = {place(g): "".join(_group(g, by_group[g], docstrings)) for g in groups()}
    return {COMMANDS: "".join(_commands()), **made}


def everything() -> list[Option]:
    """Every option of every group, the launchers' too."""
    docstrings = _docstrings()
    found = [*options(ROOT / "conf", docstrings), *options(ROOT / "launchers", docstrings)]
    return with_inherited(found)


def _docstrings() -> Docstrings:
    return Docstrings(ROOT, ROOT / "launchers")


def _title(group: str) -> str:
    return group or "top-level settings"


def _group(group: str, found: list[Option], docstrings: Docstrings) -> Iterator[str]:
    yield f"# {_title(group)}\n\n"
    yield "Made from the YAML files and the docstrings of the classes that they name.\n\n"
    prefix = _PREFIX.get(group, f"{group.replace('/', '.')}.")
    for option in found:
        if group:
            yield f"## {option.name}\n\n`{group}={option.name}`"
            yield f" builds `{option.target}`.\n\n" if option.target else "\n\n"
        yield f"{_escaped(option.about)}\n\n"
        about = _escaped(docstrings.about(option.target))
        yield f"{about}\n\n" if about else ""
        if option.starts_from and group:
            yield f"Starts from {', '.join(f'`{_short(s)}`' for s in option.starts_from)}.\n\n"
        yield from _table(option.settings, prefix)


def _short(entry: str) -> str:
    return entry.lstrip("/")


def _table(settings: tuple[Setting, ...], prefix: str) -> Iterator[str]:
    """As HTML, because values hold what Markdown would read as its own."""
    if not settings:
        return
    yield '<div class="settings" markdown="0"><table><thead><tr>'
    yield "<th>key</th><th>default</th><th>meaning</th></tr></thead><tbody>\n"
    section = ""
    for one in settings:
        if one.section != section:
            section = one.section
            yield f'<tr><th colspan="3">{html.escape(section)}</th></tr>\n'
        value = f"<code>{html.escape(one.value)}</code>" if one.value else ""
        yield f"<tr><td><code>{html.escape(prefix + one.key)}</code></td><td>{value}</td>"
        yield f"<td>{_coded(one.meaning)}</td></tr>\n"
    yield "</tbody></table></div>\n\n"


def _coded(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = html.escape(text).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _escaped(text: str) -> str:
    """Text whose angle brackets, stars and underscores are what they look like."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for sign in "\\*_[]<>":
            parts[i] = parts[i].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _commands() -> Iterator[str]:
    yield "# Commands\n\nWhat each command says when asked with `--help`.\n\n"
    for module in modules(ROOT / "lalm_bench"):
        for number, verb in enumerate(verbs(module)):
            level = "###" if number else "##"
            yield f"{level} {verb.command}\n\n```text\n{verb.help.strip()}\n```\n\n"
