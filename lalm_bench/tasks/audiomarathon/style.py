"""How an item is put to a model: `default`, this project's words, or `legacy`, the published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lalm_bench.errors import ConfigError

LISTING = "{label}. {text}"


@dataclass(frozen=True, slots=True)
class Style:
    """One way of asking.

    Parameters
    ----------
    prompt : str
        Text of the user turn after the recording; `{question}`, `{options}`, `{labels}`.
    max_new_tokens : int
    system : str, optional
        Text of a system turn.
    question : str, optional
        Stands in for the item's own question.
    option : str
        How one option is listed, with `{label}` and `{text}`.
    """

    prompt: str
    max_new_tokens: int
    system: str | None = None
    question: str | None = None
    option: str = LISTING


def choose(name: str, styles: Mapping[str, Mapping[str, Any]]) -> Style:
    """The style called `name`; ConfigError when there is none or it has a setting too many."""
    if name not in styles:
        raise ConfigError(f"task.style={name!r} must be one of {', '.join(styles)}")
    known = {f.name for f in fields(Style)}
    if unknown := sorted(set(styles[name]) - known):
        listed = ", ".join(sorted(known))
        raise ConfigError(f"task.styles.{name}.{unknown[0]}: no such setting; there are {listed}")
    style = Style(**styles[name])
    if "{label}" not in style.option or "{text}" not in style.option:
        raise ConfigError(f"task.styles.{name}.option must contain {{label}} and {{text}}")
    return style
