"""What the strict extractor knows about one item's options, prepared once and cached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from lalm_bench.types import Choice

WRAPPING = " \t\r\n.,:;!()[]{}<>*_`\"'“”‘’«»$。，：；！（）【】「」"
_EDGE = " .,!?:;\"'“”‘’*_`。，！？：；"
_ARTICLES = ("a ", "an ", "the ")
_FUNCTION_WORDS = frozenset(
    {"a", "all", "an", "and", "both", "either", "i", "it", "neither"}
    | {"no", "none", "not", "or", "other", "the", "this", "yes"}
)
_CJK = "\u2e80"


def fold(text: str) -> str:
    """Lower case without ever changing the length, so positions stay valid in the original."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join([c if len(c.lower()) != 1 else c.lower() for c in text])


def tidy(text: str) -> str:
    """One blank between words, no punctuation, quotes or markup at either end."""
    return " ".join(text.split()).strip(_EDGE)


def bounded(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` neither begins nor ends inside a word."""
    return not (_joined(text, start) or _joined(text, end))


def _joined(text: str, at: int) -> bool:
    if not 0 < at < len(text):
        return False
    left, right = text[at - 1], text[at]
    # Chinese and Japanese are written without blanks: every place is a word boundary.
    return left.isalnum() and right.isalnum() and left < _CJK and right < _CJK


@dataclass(frozen=True, slots=True)
class OptionSet:
    """Lookup tables of one item's options.

    A value of None means that several options share the key, which therefore decides nothing.

    Parameters
    ----------
    written : dict
        Label as written -> label.
    keys : dict
        Label without wrapping, lower case -> label.
    cased, folded : dict
        Tidied option text -> label, case kept or not.
    phrases : tuple of (str, frozenset of str)
        Lower-case texts to look for inside a sentence (with and without a leading article) and
        the labels they stand for, longest first.
    width : int
        Length of the longest key.
    """

    written: dict[str, str | None]
    keys: dict[str, str | None]
    cased: dict[str, str | None]
    folded: dict[str, str | None]
    phrases: tuple[tuple[str, frozenset[str]], ...]
    width: int

    def named(self, text: str) -> str | None:
        """Label that the whole of `text` is, wrapping and case aside."""
        return self.written.get(text) or self.keys.get(fold(text.strip(WRAPPING)))

    def texts_at(self, low: str, at: int) -> tuple[frozenset[str], int]:
        """Labels of the longest option text that begins at `at` in folded text, and its end."""
        for phrase, labels in self.phrases:
            end = at + len(phrase)
            if low.startswith(phrase, at) and not _joined(low, end):
                return labels, end
        return frozenset(), at

    def texts_beside(self, low: str) -> frozenset[str]:
        """Labels whose text the folded words after a label spell out, if need be only in part."""
        rest = tidy(low)
        if not rest:
            return frozenset()
        if rest in self.folded:
            # Two options with one text cannot contradict a label.
            same = self.folded[rest]
            return frozenset() if same is None else frozenset([same])
        labels, _ = self.texts_at(rest, 0)
        if labels:
            return labels
        if " " not in rest:
            return frozenset()
        # Answers are cut at the token limit: the words may be the beginning of an option.
        started = [label for text, label in self.folded.items() if text.startswith(rest)]
        return frozenset([label for label in started if label is not None])


@lru_cache(maxsize=4096)
def option_set(choices: tuple[Choice, ...]) -> OptionSet:
    """Tables for these options; equal tuples share one."""
    labels = [c.label for c in choices]
    keys = _unique((fold(label.strip(WRAPPING)), label) for label in labels)
    cased = [(tidy(c.text), c.label) for c in choices]
    folded = [(fold(text), label) for text, label in cased]
    return OptionSet(
        written=_unique((label.strip(), label) for label in labels),
        keys=keys,
        cased=_unique(cased),
        folded=_unique(folded),
        phrases=_phrases(folded),
        width=max([len(key) for key in keys], default=1),
    )


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    table: dict[str, str | None] = {}
    for key, label in pairs:
        if key:
            table[key] = label if table.get(key, label) == label else None
    return table


def _phrases(folded: list[tuple[str, str]]) -> tuple[tuple[str, frozenset[str]], ...]:
    texts: dict[str, set[str]] = {}
    for text, label in folded:
        texts.setdefault(text, set()).add(label)
    bare: dict[str, set[str]] = {}
    for text, label in folded:
        article = next((a for a in _ARTICLES if text.startswith(a)), None)
        if article and text[len(article) :] not in texts:
            bare.setdefault(text[len(article) :], set()).add(label)
    found = [
        (phrase, frozenset(labels))
        for phrase, labels in (*texts.items(), *bare.items())
        # A letter or a function word inside a sentence says nothing about an option.
        if phrase and phrase not in _FUNCTION_WORDS and (len(phrase) > 1 or not phrase.isalpha())
    ]
    return tuple(sorted(found, key=lambda f: (-len(f[0]), f[0])))
