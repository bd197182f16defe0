"""Where reasoning ends and the conclusion begins, by the form that a prompt asked for."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_REASONING = re.compile(r"<reason[^<>]{0,40}>(.*?)</reason", re.IGNORECASE | re.DOTALL)
_CONCLUSION = re.compile(r"<conclu[^<>]{0,40}>(.*?)(?:</conclu|\Z)", re.IGNORECASE | re.DOTALL)
_ANSWER = re.compile(r"^[ \t*#>]{0,8}(?:final )?answer[ \t*]{0,4}:", re.IGNORECASE | re.MULTILINE)


def nothing(text: str) -> tuple[str, str]:
    """No reasoning was asked for: all is conclusion."""
    return "", text


def by_sentence(text: str) -> tuple[str, str]:
    """The last sentence concludes, all before it is reasoning.

    Sentences end with `.`, `!` or `?` before white space; a single one is a conclusion without
    reasoning. The rule of the audio faithfulness study for Audio Flamingo 3 and for chains.

    Examples
    --------
    >>> by_sentence("It barks. Loudly! So (a).")
    ('It barks. Loudly!', 'So (a).')
    >>> by_sentence("(a)")
    ('', '(a)')
    """
    said = text.strip()
    ends = list(_SENTENCE_END.finditer(said))
    if not ends:
        return "", said
    return said[: ends[-1].start()], said[ends[-1].end() :]


def by_tag(text: str) -> tuple[str, str]:
    """Content of `<Reasoning>` and of `<Conclusion>`; all of the text for a tag that is missing.

    The rule of the audio faithfulness study for Qwen2.5-Omni.

    Examples
    --------
    >>> by_tag("<Reasoning>It barks.</Reasoning><Conclusion>A</Conclusion>")
    ('It barks.', 'A')
    """
    return _inside(_REASONING, text), _inside(_CONCLUSION, text)


def by_answer_line(text: str) -> tuple[str, str]:
    r"""The last line that begins with `Answer:` concludes; without one, the last sentence.

    Examples
    --------
    >>> by_answer_line("It barks.\nAnswer: A")
    ('It barks.', 'Answer: A')
    """
    lines = list(_ANSWER.finditer(text))
    if not lines:
        return by_sentence(text)
    at = lines[-1].start()
    return text[:at].strip(), text[at:].strip()


def _inside(tag: re.Pattern[str], text: str) -> str:
    found = tag.search(text)
    return (found[1] if found else text).strip()
