"""Where a chain of reasoning can be cut."""

from __future__ import annotations

import re

# White space after an end mark (and what closes behind it), a full-width end mark, a line's end.
_END = re.compile(r"[.!?][\"'”’)\]*]*\s+|[。！？]\s*|\s*\n\s*")


def sentences(text: str) -> list[str]:
    r"""Split into sentences, each with the white space behind it; joined, they give the text back.

    A sentence ends at `.`, `!` or `?` before white space, as in the audio faithfulness study, and
    also at the end of a line, because lists and headings have no full stop. The number of a list
    entry belongs to what follows it.

    Examples
    --------
    >>> sentences("It barks. Loudly!\n1. So it is a dog.")
    ['It barks. ', 'Loudly!\n', '1. So it is a dog.']
    """
    pieces: list[str] = []
    start = 0
    for end in [match.end() for match in _END.finditer(text)] + [len(text)]:
        piece = text[start:end]
        if any(map(str.isalpha, piece)) or (end == len(text) and piece):
            pieces.append(piece)
            start = end
    return pieces
