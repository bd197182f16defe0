"""What a rubric asks a judge for: named numbers, each with the texts that may stand for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lalm_bench.errors import ConfigError
from lalm_bench.types import Json

BINARY, NOMINAL, ORDINAL = "binary", "nominal", "ordinal"
SCALES = (BINARY, NOMINAL, ORDINAL)
# What may stand around a value: quotes, brackets, Markdown.
_DRESS = " \t\"'`*_[](){}<>“”‘’"
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?![\d.]*\d)")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One number of a verdict.

    Parameters
    ----------
    name : str
    levels : mapping of str to number, optional
        What a judge may say (in any case) -> the number it stands for.
    low, high : float, optional
        Instead of levels: any number from `low` to `high`.
    scale : str
        binary (0 or 1), nominal (numbers are codes) or ordinal.
    label : str, optional
        What stands in front of the value in the judge's answer; the name, if not given.

    Raises
    ------
    ConfigError
        Neither levels nor bounds, or a scale that does not fit them.
    """

    name: str
    levels: Mapping[str, float] | None = None
    low: float | None = None
    high: float | None = None
    scale: str = ORDINAL
    label: str | None = None

    def __post_init__(self) -> None:
        where = f"judge.rubric field {self.name}"
        if (self.levels is None) == (self.low is None or self.high is None):
            raise ConfigError(f"{where} needs either levels or both low and high")
        if self.scale not in SCALES:
            raise ConfigError(f"{where}: scale={self.scale} must be one of {', '.join(SCALES)}")
        if self.scale == BINARY and set((self.levels or {}).values()) != {0, 1}:
            raise ConfigError(f"{where} is binary: its levels must stand for 0 and 1")

    def read(self, text: object) -> float | None:
        """The number that `text` begins with; None where it says nothing, or several things.

        Examples
        --------
        >>> field = Field(name="x", levels={"Both": 2, "Neither": 3}, scale="nominal")
        >>> field.read("**both**, since ..."), field.read("Both/Neither")
        (2.0, None)
        >>> Field(name="rating", low=0, high=2).read("1 (not 0)")
        1.0
        """
        if isinstance(text, bool) or text is None:
            text = str(text).lower()
        elif isinstance(text, float) and text.is_integer():
            text = int(text)
        plain = str(text).strip().lstrip(_DRESS)
        return self._bounded(plain) if self.levels is None else self._level(plain)

    def _bounded(self, text: str) -> float | None:
        match = _NUMBER.match(text)
        if match is None or self.low is None or self.high is None:
            return None
        value = float(match[0])
        return value if self.low <= value <= self.high else None

    def _level(self, text: str) -> float | None:
        levels = self.levels or {}
        names = "|".join(re.escape(name) for name in sorted(levels, key=len, reverse=True))
        match = re.match(rf"({names})(?!\w|\.\d)(.*)", text, re.IGNORECASE)
        # "Audio-Oriented/Speech-Oriented" repeats the question.
        if match is None or re.search(rf"(?:/|\bor)\s*(?:{names})\b", match[2], re.IGNORECASE):
            return None
        said = match[1].casefold()
        return next(float(value) for name, value in levels.items() if name.casefold() == said)

    def find(self, text: str) -> float | None:
        """The one level that occurs anywhere in `text`; None for none or several.

        Examples
        --------
        >>> field = Field(name="x", levels={"Audio": 0, "Speech": 1}, scale="nominal")
        >>> field.find("It is Speech-Oriented."), field.find("Audio or Speech")
        (1.0, None)
        """
        named = {
            float(value)
            for level, value in (self.levels or {}).items()
            if re.search(rf"\b{re.escape(level)}\b", text, re.IGNORECASE)
        }
        return named.pop() if len(named) == 1 else None

    def combine(self, values: Sequence[float], trim: int = 0) -> float | None:
        """One number from several calls or judges: the mean, or the majority of nominal codes.

        Parameters
        ----------
        values : sequence of float
        trim : int
            So many of the lowest and of the highest are dropped before the mean, where at least
            one is left. A majority that is no majority is None.
        """
        if not values:
            return None
        if self.scale == NOMINAL:
            (first, count), *others = Counter(values).most_common(2)
            return None if others and others[0][1] == count else first
        kept = sorted(values)
        if 2 * trim < len(kept):
            kept = kept[trim : len(kept) - trim]
        return float(np.mean(kept))

    def schema(self) -> dict[str, Json]:
        """JSON schema of the value, for servers that hold a model to one."""
        if self.levels is None:
            return {"type": "number", "minimum": self.low, "maximum": self.high}
        return {"enum": list(self.levels)}
