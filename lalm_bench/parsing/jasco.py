"""What a JASCO judge's answer says: a rating of 0 to 2 and an orientation."""

from __future__ import annotations

import re
from dataclasses import dataclass

ORIENTATIONS = ("audio", "speech", "both", "neither")

# Labels may be set in bold, and the value may stand on the next line.
_GAP = r"\s*\**\s*:\s*\**\s*[\"'\[(*]*\s*"
_RATING = re.compile(rf"\brating{_GAP}(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_ORIENTATION = re.compile(
    rf"\borientation{_GAP}(audio|speech|both|good|neither)\b(?!\s*(?:-\s*oriented\s*)?/)",
    re.IGNORECASE,
)


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
    r"""Read a judge's answer; the last rating and the last orientation count.

    The published prompt exists in two wordings, "Both" and "Good", which mean the same.

    Examples
    --------
    >>> verdict("Explanation1: close\n**Rating:** 1\nExplanation2: ...\nOrientation: Both")
    Verdict(rating=1, orientation='both')
    >>> verdict("Rating: 3\nOrientation:\nSpeech-Oriented").malformed
    True
    """
    ratings = _RATING.findall(text)
    orientations = _ORIENTATION.findall(text)
    rating = ratings[-1] if ratings else ""
    named = orientations[-1].lower() if orientations else None
    return Verdict(
        int(rating) if rating in ("0", "1", "2") else None, "both" if named == "good" else named
    )
