"""Which criteria can be judged with: rules that drop the others, each with its reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lalm_bench.metrics.captions.summary import words

NO_TEXT, SCORES = "no scoring point of three words", "scores that are not 0 to 1"
WEIGHT = "weight not above 0"
LEAK, SAME, NEAR, BEYOND = "states the answer", "duplicate", "near-duplicate", "beyond --most"
REASONS = (NO_TEXT, SCORES, WEIGHT, LEAK, SAME, NEAR, BEYOND)
_LEAST_WORDS = 3
_NAME_WORDS = 6
_HUGE = 1e9


@dataclass(frozen=True)
class Rules:
    """How strictly criteria are sifted.

    Parameters
    ----------
    near : float
        Cosine of two criteria's word vectors from which they are near-duplicates.
    least : int
        Items that keep fewer criteria get no rubric.
    most : int, optional
        Most criteria of an item: those of the greatest weight stay.
    """

    near: float = 0.85
    least: int = 2
    most: int | None = None


@dataclass(frozen=True)
class Rarity:
    """How telling each word is among all criteria: log((1 + N) / (1 + df)) + 1.

    Set phrases that all criteria share, as "award 1 point if", then say little of their likeness.

    References
    ----------
    Salton and Buckley (1988), Information Processing and Management 24(5): tf-idf, cosine.
    """

    count: int
    holding: Mapping[str, int]

    @staticmethod
    def of(texts: Iterable[str]) -> Rarity:
        """From all criteria, equal ones once."""
        distinct = {tuple(words(text)) for text in texts}
        return Rarity(len(distinct), Counter(word for text in distinct for word in set(text)))

    def alike(self, one: str, other: str) -> float:
        """Cosine of two texts, 0 to 1."""
        first, second = self._vector(one), self._vector(other)
        sizes = [math.sqrt(sum(x * x for x in vector.values())) for vector in (first, second)]
        dot = sum(value * second.get(word, 0.0) for word, value in first.items())
        return dot / (sizes[0] * sizes[1]) if all(sizes) else 0.0

    def _vector(self, text: str) -> dict[str, float]:
        return {
            word: times * (math.log((1 + self.count) / (1 + self.holding.get(word, 0))) + 1)
            for word, times in Counter(words(text)).items()
        }


def sift(
    item: Mapping[str, Any], rules: Rules, rarity: Rarity
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The criteria of an item that can be judged with, their weights summing to 1.

    Parameters
    ----------
    item : mapping
        `criteria` as written; `question`, `answer`, and `others`, the texts of the wrong options.
    rules : Rules
    rarity : Rarity

    Returns
    -------
    kept : list of dict
        `name`, `scoring_point`, `note`, `choices`, `weight`, in the order written.
    dropped : list of (reason, text)
    """
    kept: list[dict[str, Any]] = []
    dropped: list[tuple[str, str]] = []
    for written in item["criteria"]:
        criterion, reason = _shaped(written)
        text = criterion["scoring_point"]
        if reason is None and leaks(f"{criterion['name']} {text}", item):
            reason = LEAK
        if reason is None:
            reason = _repeats(text, [c["scoring_point"] for c in kept], rules.near, rarity)
        if reason is None:
            kept.append(criterion)
        else:
            dropped.append((reason, text or str(criterion["name"])))
    if rules.most is not None and len(kept) > rules.most:
        order = sorted(range(len(kept)), key=lambda i: (-kept[i]["weight"], i))
        dropped += [(BEYOND, kept[i]["scoring_point"]) for i in sorted(order[rules.most :])]
        kept = [kept[i] for i in sorted(order[: rules.most])]
    total = sum(criterion["weight"] for criterion in kept)
    return [{**c, "weight": c["weight"] / total} for c in kept], dropped


def leaks(text: str, item: Mapping[str, Any]) -> bool:
    """Whether a criterion states the right answer, word for word.

    Not so where the question states it anyway, or the criterion names another option as well: it
    then compares them, and gives nothing away.

    Examples
    --------
    >>> item = {"question": "What falls?", "answer": "heavy rain", "others": ["hail"]}
    >>> leaks("Award 1 point if heavy rain is named.", item)
    True
    >>> leaks("Award 1 point if it tells heavy rain from hail.", item)
    False
    """
    said, answer = words(text), words(str(item["answer"]))
    if not answer or not _holds(said, answer) or _holds(words(str(item["question"])), answer):
        return False
    others = (words(str(other)) for other in item.get("others") or ())
    return not any(other and _holds(said, other) for other in others if not _holds(answer, other))


def _holds(text: Sequence[str], run: Sequence[str]) -> bool:
    size = len(run)
    return any([*text[i : i + size]] == [*run] for i in range(len(text) - size + 1))


def _shaped(written: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A criterion in the form that judges read, and what is wrong with it."""
    text = _line(written.get("scoring_point"))
    name = _line(written.get("name")) or " ".join(text.split()[:_NAME_WORDS])
    choices = written.get("choices", [0, 1])
    weight = written.get("weight", 1)
    reason = None
    if len(words(text)) < _LEAST_WORDS:
        reason = NO_TEXT
    elif not isinstance(choices, list) or not _scores(choices):
        reason = SCORES
    elif not _number(weight) or weight <= 0:
        reason = WEIGHT
    shaped = {
        "name": name,
        "scoring_point": text,
        "note": _line(written.get("note")),
        "choices": choices,
        "weight": weight,
    }
    return shaped, reason


def _line(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # Half of a surrogate pair, which a model may write as an escape, can stand in no file.
    return " ".join(value.encode("utf-8", "replace").decode().split())


def _scores(choices: Sequence[Any]) -> bool:
    return all(_number(c) and 0 <= c <= 1 for c in choices) and len(set(choices)) > 1


def _number(value: Any) -> bool:
    # Compared, not converted: a model may write more digits than a float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _repeats(text: str, kept: Sequence[str], near: float, rarity: Rarity) -> str | None:
    if any(words(text) == words(other) for other in kept):
        return SAME
    return NEAR if any(rarity.alike(text, other) >= near for other in kept) else None
