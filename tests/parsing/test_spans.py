"""Spans in text: forms that models write, what is no span, and properties."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.parsing.spans import parse_spans, seconds

ONE = ((1.2, 3.4),)
TWO = ((1.2, 3.4), (5.0, 6.0))

WRITTEN = [
    ("[1.2, 3.4]", ONE),
    ("[1.2, 3.4]\n[5, 6]", TWO),
    ("[1.2, 3.4], [5, 6]", TWO),
    ("[[1.2, 3.4], [5, 6]]", TWO),
    ("1) [1.2, 3.4]", ONE),
    ("(1.2, 3.4)", ONE),
    ("[1.2s, 3.4s]", ONE),
    ("<1.2, 3.4>", ONE),
    ("1.2, 3.4", ONE),
    ("1.2 3.4", ONE),
    ("1.2-3.4", ONE),
    ("1.2 s – 3.4 s.", ONE),
    ("1.2s—3.4s; 5s—6s", TWO),
    ("1.2 to 3.4", ONE),
    ("from 1.2 to 3.4 seconds and from 5 to 6 seconds", TWO),
    ("between 1.2 and 3.4 seconds", ONE),
    ("1. 1.2-3.4\n2. 5.0-6.0", TWO),
    ("approximately 1.2 to approximately 3.4 seconds", ONE),
    ("The audio is 10 seconds long; the dog barks from 1.2 to 3.4 seconds.", ONE),
    ('The "3-second" beep is heard from 1.2 to 3.4', ONE),
    ("The sound starts at 1.2 seconds and ends at 3.4 seconds.", ONE),
    ("Onset: 1.2, Offset: 3.4", ONE),
    ("**Onset:** 1.2 s **Offset:** 3.4 s", ONE),
    ("onset=1.2, offset=3.4", ONE),
    ("Start: 1.2\nEnd: 3.4\nStart: 5\nEnd: 6", TWO),
    ("It starts at 1.2 seconds and lasts for 2.2 seconds.", ONE),
    ("It occurs at 1.2 seconds until 3.4 seconds", ONE),
    ("1200-3400 ms", ONE),
    ("0:01.2-0:03.4", ONE),
    ("00:00:01.200 --> 00:00:03.400", ONE),
    ("From 00:05 to 00:06.", ((5.0, 6.0),)),
    ("[1:05, 1:10.5]", ((65.0, 70.5),)),
    ("1 minute 5 seconds to 1 minute 10 seconds", ((65.0, 70.0),)),
    ("1m05s-1m10s", ((65.0, 70.0),)),
    ("from 1 to 3 min", ((60.0, 180.0),)),
    ('{"onset": 1.2, "offset": 3.4}', ONE),
    ('{"onset": 1.2, "offset": 3.4}\n{"onset": 5, "offset": 6}', TWO),
    ('{"start": "0:01.2", "end": "3.4 s"}', ONE),
    ('{"Onset_seconds": 1.2, "Offset_seconds": 3.4}', ONE),
    ('```json\n[{"start": 1.2, "end": 3.4}, {"start": 5, "end": 6}]\n```', TWO),
    ('Here: {"segments": [{"start_time": 1.2, "end_time": 3.4}]} as asked.', ONE),
    ('{"event": "dog", "timestamps": [[1.2, 3.4], [5, 6]]}', TWO),
    ('{"answer": "1.2-3.4"}', ONE),
    ("[1.2, 3.4] [1.2, 3.4]", ONE),
    ("[7, 4]\n[1.2, 3.4]", ONE),
]


def same(found, spans):
    """Equal numbers of spans, equal to a microsecond."""
    return np.shape(found) == np.shape(spans) and np.allclose(found, spans, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("text", "spans"), WRITTEN)
def test_forms_that_models_write(text, spans):
    assert same(parse_spans(text).spans, spans)


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("I'm sorry, I cannot hear any dog.", "refusal"),
        ("The sound is not present in the audio.", "refusal"),
        ("5.0 - 3.0", "inverted"),
        ("[0, 0]", "inverted"),
        ("[-1, 3]", "inverted"),
        ('{"onset": 3, "offset": 1}', "inverted"),
        ("A", "none"),
        ("1.5 s", "none"),
        ("about 3 seconds in", "none"),
        ("the first 3 seconds", "none"),
        ("It is heard throughout.", "none"),
        ("There are 2 dogs and 3 cats", "none"),
        ("from 3 seconds to the end", "none"),
        ("[1.2, 3.4, 5.0, 6.0]", "none"),
        ("[1.2, 3.4", "none"),  # cut at the token limit: the number may go on
        ("[NaN, 3]", "none"),
        ("[1e400, 3]", "none"),
        ("[true, false]", "none"),
        ('{"onset": null, "offset": 3}', "none"),
    ],
)
def test_what_is_no_span_says_why(text, stage):
    assert parse_spans(text) == parse_spans(text).__class__((), stage)


TIMES = st.integers(0, 359_900).map(lambda n: n / 100)
PAIRS = st.lists(
    st.tuples(TIMES, TIMES).filter(lambda p: p[1] > p[0]), min_size=1, max_size=4, unique=True
)


def clock(value):
    minutes, rest = divmod(round(value * 100), 6000)
    return f"{minutes}:{rest // 100:02d}.{rest % 100:02d}"


FORMS = {
    "json": lambda p: json.dumps(p),
    "objects": lambda p: json.dumps([{"onset": a, "offset": b} for a, b in p]),
    "dash": lambda p: ", ".join(f"{a}-{b}" for a, b in p),
    "seconds": lambda p: " and ".join(f"from {a} s to {b} s" for a, b in p),
    "clock": lambda p: "; ".join(f"{clock(a)} - {clock(b)}" for a, b in p),
    "lines": lambda p: "\n".join(f"[{a}, {b}]" for a, b in p),
    "named": lambda p: "\n".join(f"Onset: {a} s, offset: {b} s" for a, b in p),
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_what_is_written_is_read(form, pairs):
    assert same(parse_spans(FORMS[form](pairs)).spans, pairs)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789.:,-–[]{}()\"' abdefnostu\n", max_size=60) | st.text())
def test_any_text_gives_spans_or_a_reason(text):
    parsed = parse_spans(text)
    assert bool(parsed.spans) == (parsed.stage in ("json", "range", "pair", "named", "length"))
    assert all(0 <= a < b < float("inf") for a, b in parsed.spans)


def test_seconds_refuses_what_is_no_time():
    with pytest.raises(ValueError, match="no time"):
        seconds("soon")


@pytest.mark.parametrize(
    "text", ["1" * 9000, "1:" * 9000, "[1," * 9000, "starts 1 " * 3000, "1 min " * 4000, "{" * 9000]
)
def test_hostile_text_takes_no_time(text):
    began = time.perf_counter()
    parse_spans(text)
    assert time.perf_counter() - began < 1.0
