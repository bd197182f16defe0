"""What a JASCO judge's answer says: a rating of 0 to 2 and an orientation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lalm_bench.judges.parsers import Labelled, Words

ORIENTATIONS = ("audio", "speech", "both", "neither")
# The published prompt exists in two wordings, "Both" and "Good", which mean the same.
_SAID = {name: ORIENTATIONS.index(name) for name in ORIENTATIONS}
_ORIENTATION = {"levels": {**_SAID, "good": _SAID["both"]}, "scale": "nominal"}


@cache
def parser() -> Labelled:
    """Reads the four labelled parts; the last rating and the last orientation count."""
    return Labelled({"rating": {"levels": {"0": 0, "1": 1, "2": 2}}, "orientation": _ORIENTATION})


def bare_orientation() -> Words:
    """Reads the answer to the question that asks for the orientation alone."""
    return Words({"orientation": _ORIENTATION})


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judge's opinion of one answer.

    Parameters
    ----------
    rating : int or None
        0, 1 or 2; None when the judge gave none.
    orientation : str or None
        One of `ORIENTATIONS`; None when the judge named none.
    """

    rating: int | None
    orientation: str | None

    @property
    def malformed(self) -> bool:
        """A part is missing, so the verdict counts as a score of 0."""
        return self.rating is None or self.orientation is None


def verdict(text: str) -> Verdict:
    r"""Read a judge's answer, as the rubric does.

    Examples
    --------
    >>> verdict("Explanation1: close\n**Rating:** 1\nExplanation2: ...\nOrientation: Both")
    Verdict(rating=1, orientation='both')
    >>> verdict("Rating: 3\nOrientation:\nSpeech-Oriented").malformed
    True
    """
    found = parser().parse(text, {})
    rating, code = found["rating"], found["orientation"]
    return Verdict(
        None if rating is None else int(rating), None if code is None else ORIENTATIONS[int(code)]
    )
