"""What MMAU-Pro's judge says of an open answer: five scores of 1 to 5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lalm_bench.judges.fields import Field
from lalm_bench.judges.hygiene import without_repeated

CRITERIA = ("correctness", "relevance", "completeness", "clarity", "overall")
# "OVERALL: 4", "**Overall:** [4.5]"
_SCORE = {
    name: re.compile(rf"\b{name}\s*\**\s*:\s*\**\s*\[?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
    for name in CRITERIA
}
_MISSING = 3.0


def open_verdict(text: str) -> dict[str, float | None]:
    r"""The five scores; None for one that is absent or outside 1 to 5.

    An absent overall score is the mean of the four others, where all are there.

    Examples
    --------
    >>> open_verdict("CORRECTNESS: 4 - fine\nOVERALL: 9")["overall"] is None
    True
    """
    found: dict[str, float | None] = {}
    for name, pattern in _SCORE.items():
        numbers = [float(number) for number in pattern.findall(text)]
        found[name] = numbers[-1] if numbers and 1 <= numbers[-1] <= 5 else None
    four = [found[name] for name in CRITERIA[:4]]
    if found["overall"] is None and not _SCORE["overall"].search(text) and None not in four:
        found["overall"] = sum(score for score in four if score is not None) / 4
    return found


def published_open_verdict(text: str) -> dict[str, float]:
    """The five scores as the published script takes them, for comparison only.

    A criterion that is not found gets 3, and an overall score of 3 is replaced by the mean of the
    four others, so unreadable text earns 3 of 5.

    Examples
    --------
    >>> published_open_verdict("no scores")["overall"]
    3.0
    """
    found = {}
    for name in CRITERIA:
        match = re.search(rf"{name.upper()}:\s*(\d+)", text)
        found[name] = float(match[1]) if match else _MISSING
    if found["overall"] == _MISSING:
        found["overall"] = sum(found[name] for name in CRITERIA[:4]) / 4
    return found


class OpenVerdict:
    """Both readings of a judge's answer, for the rubric."""

    @property
    def fields(self) -> Sequence[Field]:
        """The criteria, and the overall score as published."""
        return [Field(name=name, low=1, high=5) for name in (*CRITERIA, "open_published")]

    @property
    def labels(self) -> Sequence[str]:
        """What stands in front of the scores."""
        return CRITERIA

    def parse(
        self, reply: str, row: Mapping[str, Any], answer: str = ""
    ) -> dict[str, float | None]:
        """Field -> score; only `open_published` is never None."""
        reply = without_repeated(reply, answer, CRITERIA)
        published = published_open_verdict(reply)["overall"]
        return {**open_verdict(reply), "open_published": published}

    def schema(self) -> None:
        """None: the answer is no JSON."""
