"""Caption words as the caption metrics count them: Penn Treebank style, lower case, no punctuation.

The reference chain of COCO captioning runs Stanford's PTBTokenizer 3.4.1 (Java) and then drops
punctuation. These rules give its words without Java; `TOKENISER` names them for the result,
because a plain split at non-letters changes about one sentence in ten.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

TOKENISER = "ptb-style 1"

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‛′", "'"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("–—―", " -- "),
        "…": " ... ",
        "\u00ad": "",
        "½": "1/2",
        "¼": "1/4",
        "¾": "3/4",
        "£": "#",
        "€": "$",
    }
)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# What the reference drops. It lists brackets in upper case after lowering, so they stay.
_DROPPED = frozenset(["''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_ABBREVIATIONS = (
    "adm|approx|apr|assn|aug|ave|blvd|bros|capt|cmdr|co|col|corp|dec|dept|dr|esq|est|etc|feb|fri|"
    "gen|gov|hon|inc|jan|jr|lt|ltd|maj|messrs|mon|mr|mrs|ms|mt|nov|oct|ph|pres|prof|rep|rev|sen|"
    "sept|sep|sgt|sr|st|thu|tue|tues|u\\.s|vs|wed"
)
# The one rule that looks past a blank: "no. 5".
_NUMERO = re.compile(r"\bno\.\s")
_WORD = r"[^\W_]+"
_TOKEN = re.compile(
    rf"""
      https?://\S+ | www\.\S+ | \w[\w.+-]{{0,63}}@[\w-]+(?:\.[\w-]+)+
    | -[lr][rsc]b-                                       # a bracket that was tokenised before
    | (?:can(?=not\b) | gon(?=na\b) | wan(?=na\b) | got(?=ta\b) | lem(?=me\b) | gim(?=me\b))
    | '(?:t(?=is\b|was\b) | n'? (?![^\W_]) | (?:em|cause|til)\b | \d\ds\b)
    | '(?:s|m|d|ll|re|ve)(?![^\W_])
    | n't(?![^\W_])
    | (?:{_WORD}-)*{_WORD}?(?=n't(?![^\W_]))
    | y'(?=all\b) | [od]'[^\W_]+ | ma'am\b
    | [^\W\d_](?:\.[^\W\d_])+\.(?![^\W_])               # u.s., p.m.
    | \b(?:{_ABBREVIATIONS}|no(?=\.\s*\d)|[^\W\d_])\.(?![^\W_])
    | [#@][^\W\d_]\w* | </?[a-z]\w*>
    | \d+(?:[.,:]\d+)+(?=[a-z])                          # 14.40 s
    | \b[cf]\#
    | {_WORD}(?:(?:[-‑./&_]|(?<=\d)[,:](?=\d)){_WORD})*
    | [-+]\d+(?:[.,:]\d+)*
    | \.{{2,}} | [!?]{{2,}} | -{{2,}} | `` | ''
    | \S
    """,
    re.X,
)


def tokenise(caption: str) -> list[str]:
    """Words of one caption, in order.

    Parameters
    ----------
    caption : str
        Raw or tokenised before; line breaks count as blanks.

    Examples
    --------
    >>> tokenise("A man isn't talking; the high-pitched dog can't stop!")
    ['a', 'man', 'is', "n't", 'talking', 'the', 'high-pitched', 'dog', 'ca', "n't", 'stop']
    """
    text = caption.lower().translate(_TYPOGRAPHY)
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    if _NUMERO.search(text):
        return [*_kept(text)]
    return [*chain.from_iterable(map(_known, text.split()))]


def _kept(text: str) -> tuple[str, ...]:
    found = [word for word in _TOKEN.findall(text) if word not in _DROPPED]
    return tuple(
        [_BRACKETS.get(w, w) for w in found if w.strip(".") and (w[0] != "-" or w.strip("-"))]
    )


# Rules see no further than the next blank, so that each piece between blanks is read once.
_known = lru_cache(maxsize=1 << 16)(_kept)
