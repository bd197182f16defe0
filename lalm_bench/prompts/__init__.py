"""Rendering of options and questions into the text a model reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lalm_bench.errors import ConfigError
from lalm_bench.types import Audio, AudioSource, Choice, Message, Sample, Text

_FIELDS = ("{question}", "{options}", "{choices}", "{labels}")
_FIELD = re.compile("|".join(map(re.escape, _FIELDS)))


def check(template: str, where: str) -> None:
    """Raise ConfigError unless the template has a place for the question.

    Parameters
    ----------
    template : str
        Text with `{question}`, and usually `{options}` or `{choices}`, and `{labels}`.
    where : str
        Name of the setting, for the message.
    """
    if "{question}" not in template:
        raise ConfigError(
            f"{where} has no {{question}}; the places it may use are {', '.join(_FIELDS)}"
        )


def user_turn(sample: Sample, text: str) -> Message:
    """One user turn: the item's clips, then `text`."""
    heard = [Audio(AudioSource(clip)) for clip in sample.audio]
    return Message("user", (*heard, Text(text)))


def render(template: str, question: str, choices: Sequence[Choice]) -> str:
    """Fill the template; braces inside the question or the options stay as they are.

    `{options}` becomes one `label. text` line per option, `{choices}` the same in one line as
    "(label) text", `{labels}` the labels joined by ", ".

    Examples
    --------
    >>> render("{question} [{labels}]", "Which?", [Choice("A", "x"), Choice("B", "y")])
    'Which? [A, B]'
    >>> render("{question} {choices}", "Which?", [Choice("a", "x"), Choice("b", "{labels}")])
    'Which? (a) x (b) {labels}'
    """
    values = {
        "{question}": question,
        "{options}": "\n".join([f"{c.label}. {c.text}" for c in choices]),
        "{choices}": " ".join([f"({c.label}) {c.text}" for c in choices]),
        "{labels}": ", ".join([c.label for c in choices]),
    }
    return _FIELD.sub(lambda match: values[match[0]], template)


def letter(index: int) -> str:
    """Option label by position: 0 -> A ... 25 -> Z, 26 -> AA (MCQ-ORDER reaches AF).

    Examples
    --------
    >>> [letter(i) for i in (0, 25, 26, 31)]
    ['A', 'Z', 'AA', 'AF']
    """
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
