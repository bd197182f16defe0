import json

import jiwer
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench import cli
from lalm_bench.build import build
from lalm_bench.errors import DataError
from lalm_bench.tasks.audiomarathon import legacy
from lalm_bench.tasks.audiomarathon.transcription import transcript_in
from lalm_bench.types import Generation, Response
from tests.tasks.audiomarathon_layouts import TEXTS, librispeech_long


def task(root, *overrides):
    with initialize_config_dir(cli.home("conf"), version_base="1.3"):
        words = ["task=librispeech_long", f"task.root={root}", "tracking=none", *overrides]
        return build(compose("config", words)).task


def test_recordings_and_both_forms_of_transcripts(tmp_path):
    librispeech_long(tmp_path)
    made = task(tmp_path)
    samples = made.samples()
    assert [(s.id, s.target, s.cluster) for s in samples] == [
        ("121-1-0000", TEXTS[2], "121"),
        ("61-70968-0000", TEXTS[0], "61"),
        ("61-70968-0001", TEXTS[1], "61"),
    ]
    assert [s.meta["duration"] for s in samples] == ["120-180 s", "090-120 s", "180-300 s"]
    assert made.report()["without_transcript"] == 1
    assert made.report()["without_transcript_first"] == ["121-1-0001"]
    assert len(made.inputs()) == 3
    assert made.max_new_tokens == 2048
    (request,) = made.requests(samples[0], Generation())
    assert [m.role for m in request.messages] == ["user"]
    made = task(tmp_path, "task.style=legacy")
    (request,) = made.requests(samples[0], Generation())
    assert [m.role for m in request.messages] == ["system", "user"]
    assert made.max_new_tokens == 1100


def test_bad_transcripts_are_named(tmp_path):
    librispeech_long(tmp_path)
    own = tmp_path / "test-clean/61/70968/61-70968-0000.txt"
    own.write_text(" \n")
    (bad,) = [s for s in task(tmp_path).samples() if s.fault]
    assert "61-70968-0000 is empty" in bad.fault
    own.write_bytes("é".encode("latin-1"))
    (bad,) = [s for s in task(tmp_path).samples() if s.fault]
    assert (bad.id, "not UTF-8" in bad.fault) == ("61-70968-0000", True)
    with pytest.raises(DataError, match="no <speaker>"):
        task(tmp_path, "task.subset=.").samples()
    assert "test-other: no such folder" in task(tmp_path, "task.subset=test-other").missing(True)[0]


def test_a_run_with_given_transcripts(tmp_path, bench, run_folders):
    """No model here writes English, so the answers come from a file."""
    librispeech_long(tmp_path / "data")
    answers = tmp_path / "answers.csv"
    answers.write_text(
        "id,output\n"
        "121-1-0000,Spoken Content: Mr. Smith went home.\n"
        "61-70968-0000,the quick brown box\n"
        '61-70968-0001,""\n'
    )
    bench(
        "task=librispeech_long",
        f"task.root={tmp_path / 'data'}",
        "model=predictions",
        f"model.path={answers}",
        "tracking=none",
        "figures=false",
        check=0,
    )
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    # 4 + 4 + 4 words ("don't" becomes two); one substitution and four deletions.
    assert values["words"] == 12
    assert values["wer"] == pytest.approx(5 / 12)
    assert values["deletions_rate"] == pytest.approx(4 / 12)
    # Published: "mister" is not "mr" (1 of 4), one substitution (1 of 4), empty is all wrong.
    assert values["wer_mean[legacy]"] == pytest.approx((1 / 4 + 1 / 4 + 1) / 3)
    assert values["word_accuracy[legacy]"] == pytest.approx(1 / 2)
    assert values["invalid_rate"] == pytest.approx(1 / 3)
    analysis = json.loads((folder / "analysis.json").read_text())
    assert [r["value"] for r in analysis["by_duration"]] == [
        "090-120 s",
        "120-180 s",
        "180-300 s",
    ]
    assert analysis["dataset"]["without_transcript"] == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Spoken Content: a b", "a b"),
        ("**Spoken Content:** a b", "a b"),
        ("Here it is.\nTranscript: a\nb", "a\nb"),
        ("the content: of it", "the content: of it"),
        ("", ""),
    ],
)
def test_what_announces_a_transcript(text, kept):
    assert transcript_in(text)[0] == kept


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Well-known, don't!", "wellknown dont"),
        ('(a) "b" [c] {d}; e: f?', "a b c d e f"),
        ("x’s", "x’s"),
    ],
)
def test_the_published_normalisation(text, normal):
    assert legacy.normalise(text) == normal


def test_the_published_cleaning_loses_what_follows_a_second_marker():
    text = "Spoken Content: one spoken content: two"
    assert legacy.clean_transcript(text).split() == ["one"]
    assert legacy.clean_transcript("my transcript: yes") == " yes"


words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12).map(" ".join)


@given(words, words)
@settings(deadline=None)
def test_the_published_rate_is_that_of_jiwer(reference, hypothesis):
    expected = jiwer.wer(reference, hypothesis)
    assert legacy.word_error_rate(reference, hypothesis) == pytest.approx(expected)
    assert legacy.word_error_rate(reference, "") == 1.0


def test_no_answers_have_no_rate(tmp_path):
    librispeech_long(tmp_path)
    metrics = task(tmp_path).metrics(pd.DataFrame({"label": []}))
    assert metrics.values == {"n": 0, "wer": None}
    sample = task(tmp_path).samples()[0]
    (score,) = task(tmp_path).score(sample, [Response("k", sample.id, "  ")])
    assert (score.label, score.invalid, score.stage) == (None, True, "empty")
    assert score.values["wer"] == 1.0
