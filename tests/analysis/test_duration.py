import json

import orjson
import pytest

from lalm_bench.analysis import lengths
from lalm_bench.analysis.__main__ import main
from lalm_bench.analysis.lengths import Buckets
from lalm_bench.errors import ConfigError
from lalm_bench.stats import cluster_mean
from tests import tiny
from tests.analysis.conftest import number, table
from tests.compare.conftest import row
from tests.report.conftest import command
from tests.tasks import audiomarathon_layouts as layouts
from tests.test_study import run_study

MIB = 1 << 20


def analysed(tmp_path, *words, code=0):
    folder = tmp_path / "found"
    assert main(["duration", *map(str, words), "--out", str(folder)]) == code
    return folder


def answer(i, key=None, variant="", **more):
    found = {"key": key or f"{i:032x}", "sample_id": f"item{i}", "text": "a", "finish": "stop"}
    return {**found, "variant": variant, **more}


# Settings from which no run can be made again: its recordings are not looked up.
BROKEN = {"paths": {"outputs": ""}, "on_error": "never"}


def log(folder, *answers):
    lines = [orjson.dumps(a, option=orjson.OPT_APPEND_NEWLINE) for a in answers]
    (folder / "responses.jsonl").write_bytes(b"".join(lines))


def cost(encoder, prefill, decode, tokens, audio_s, kv=None):
    usage = {"output_tokens": tokens, "audio_s": audio_s}
    timing = {"featurise_s": 9.0, "encoder_s": encoder, "prefill_s": prefill, "decode_s": decode}
    return {"usage": usage | ({} if kv is None else {"kv_bytes": kv}), "timing": timing}


def test_numbers_by_hand(made, tmp_path):
    rows = [row(i, given, seconds=s) for i, given, s in ((0, "a", 5), (1, "b", 20), (2, "a", 29.9))]
    run = made(
        "none", [*rows, row(3, "a", seconds=None), row(4, None, seconds=400)], errors=2, **BROKEN
    )
    log(
        run,
        answer(0, **cost(0.1, 0.2, 0.7, 8, 5.0, 2 * MIB)),
        answer(1, **cost(0.2, 0.4, 1.0, 6, 20.0, 4 * MIB)),
        answer(2, finish="error", error="late"),
        answer(2, **cost(0.4, 0.8, 3.0, 16, 30.0, 8 * MIB)),
        answer(3, usage={"audio_s": 30.0, "truncated_s": 70.0}),
    )
    folder = analysed(tmp_path, run, "--edges", "10", "30", "300")
    found = {r["bucket"]: r for r in table(folder, "buckets")}
    assert [*found] == ["0-10 s", "10-30 s", "30-300 s", "over 300 s"]
    middle = found["10-30 s"]
    assert (middle["items"], middle["measure"]) == ("2", "accuracy")
    assert number(middle, "score") == 0.5
    expected = cluster_mean([0.0, 1.0], ["clip0", "clip1"])  # items 1 and 2 are of two clips
    assert expected.low < 0  # and the table shows no score below 0
    assert number(middle, "score_low") == 0
    assert number(middle, "encoder_s") == pytest.approx(0.3)
    assert number(middle, "total_s") == pytest.approx((1.6 + 4.2) / 2)
    assert number(middle, "total_median_s") == pytest.approx(2.9)
    assert number(middle, "real_time_factor") == pytest.approx((1.6 + 4.2) / 50)
    assert number(middle, "tokens_per_s") == pytest.approx((5 + 15) / 4)
    assert number(middle, "kv_mib") == 6
    # 30 s were heard of 100: the recording's own length counts.
    assert (found["30-300 s"]["items"], found["30-300 s"]["total_s"]) == ("1", "")
    assert number(found["over 300 s"], "score") == 0  # an answer without a label is wrong
    facts = json.loads((folder / "duration.json").read_text())
    assert facts["durations_from"]["baseline"] == {lengths.DECISION: 4, lengths.ANSWER: 1}
    notes = "\n".join(facts["notes"])
    for said in ("1 durations are those that the model heard", "2 of 5 decisions have no time"):
        assert said in notes
    assert "2 items ended in an error" in notes
    assert notes in (folder / "duration.md").read_text().replace("\n\n- ", "\n").replace(
        "- ", "", 1
    )


def test_an_unknown_duration_is_a_row_of_its_own(made, tmp_path):
    run = made("none", [row(0, "a"), row(1, "a", seconds=3.0)], **BROKEN)
    folder = analysed(tmp_path, run)
    assert [r["bucket"] for r in table(folder, "buckets")] == ["0-10 s", "unknown"]
    facts = json.loads((folder / "duration.json").read_text())
    assert "1 of 2 decisions have no known duration" in "\n".join(facts["notes"])
    assert "recordings could not be looked up" in "\n".join(facts["notes"])


def test_steps_add_up_and_earlier_answers_do_not(made, tmp_path):
    rows = [row(0, "a", seconds=1.0, steps={"reasoning": "x"}), row(1, "a", seconds=1.0)]
    run = made("none", rows, **BROKEN)
    log(
        run,
        answer(0, "a" * 32, timing={"decode_s": 1.0}),
        answer(1, "b" * 32, timing={"decode_s": 50.0}),  # asked before its clip changed
        answer(0, "c" * 32, timing={"decode_s": 0.5}),
        answer(1, "d" * 32, timing={"decode_s": 2.0}),
    )
    (found,) = table(analysed(tmp_path, run), "buckets")
    assert number(found, "total_s") == pytest.approx((1.5 + 2.0) / 2)


def test_peak_memory_comes_from_a_studys_timings(made, tmp_path):
    run = made("none", [row(0, "a", seconds=1.0), row(1, "a", seconds=20.0)], **BROKEN)
    state = json.loads((run / "run.json").read_text())
    study = tmp_path / "study"
    (study / "timing").mkdir(parents=True)
    cells = {"cells": [{"folder": str(run), "overrides": []}]}
    (study / "study.json").write_text(json.dumps(cells))
    times = [
        {"cell": cell, "item": "item0/", "peak_bytes": peak}
        for cell, peak in (
            (state["fingerprint"], 3 * MIB),
            (state["fingerprint"], 5 * MIB),
            ("x", 9),
        )
    ]
    (study / "timing" / "mcq.json").write_text(json.dumps({"times": times}))
    assert main(["duration", str(study)]) == 0
    first, second = table(study / "analysis" / "duration", "buckets")
    assert (number(first, "peak_mib"), second["peak_mib"]) == (5, "")


def test_a_real_study_by_duration(tmp_path):
    """Two conditions on recordings of AudioMarathon's layout, by the task's own lengths."""
    layouts.race(tmp_path / "data" / "audiomarathon" / "race", 2)
    run_study(
        tmp_path,
        *("experiment=audiomarathon_pruning", "model=audio_flamingo_3", "model.dtype=float32"),
        *(f"model.path={tiny.build('audio_flamingo_3', tmp_path)}", "study.each.task=[race]"),
        *("study.prefill=[fastv]", "study.eviction=[]", "study.ratios=[0.9]", "study.layer=1"),
        *("generation.max_new_tokens=4", "limit=2", "figures=false"),
        "study.timing={items: 2, warmup: 0, repeats: 1}",
    )
    (timing,) = tmp_path.glob("multi/studies/**/timing/*.json")
    # Only a GPU counts its memory: where this runs on none, the study's file is given two peaks.
    stored = json.loads(timing.read_text())
    for place, row_ in enumerate(stored["times"]):
        row_["peak_bytes"] = (place + 1) * MIB
    timing.write_text(json.dumps(stored))
    study = timing.parent.parent
    assert main(["duration", str(study)]) == 0
    found = table(study / "analysis" / "duration", "buckets")
    assert len({r["run"] for r in found}) == 2
    assert {r["bucket"] for r in found} <= {"90-120 s", "120-180 s"}
    plain, pruned = (
        [r for r in found if ("fastv" in r["run"]) == wanted] for wanted in (False, True)
    )
    assert sum(int(r["items"]) for r in plain) == sum(int(r["items"]) for r in pruned) == 2
    assert number(pruned[0], "kv_mib") < number(plain[0], "kv_mib")
    assert {number(r, "peak_mib") for r in found} <= {1, 2, 3, 4}
    facts = json.loads((study / "analysis" / "duration" / "duration.json").read_text())
    assert all([*counts] == [lengths.DECISION] for counts in facts["durations_from"].values())


def test_macro_f1_has_its_interval_from_clips(made, tmp_path):
    rows = [
        row(i, given, target, seconds=1.0)
        for i, (given, target) in enumerate(
            [("a", "a"), ("b", "a"), ("b", "b"), ("b", "b"), (None, "b"), ("a", "a")]
        )
    ]
    run = made("none", rows, headline=("macro_f1",), **BROKEN)
    (run / "analysis.json").write_text(json.dumps({"classes": [{"class": "a"}, {"class": "b"}]}))
    (found,) = table(analysed(tmp_path, run, "--metric", "macro_f1"), "buckets")
    # a: precision 1, recall 2/3; b: precision 2/3, recall 2/3.
    assert number(found, "score") == pytest.approx((0.8 + 2 / 3) / 2)
    assert number(found, "score_low") < number(found, "score") < number(found, "score_high")


def test_edges_must_rise(made, tmp_path, capsys):
    run = made("none", [row(0, "a", seconds=1.0)], **BROKEN)
    folder = analysed(tmp_path, run, "--edges", "30", "10", code=2)
    assert "each edge must be greater" in capsys.readouterr().err
    assert not folder.exists()
    with pytest.raises(ConfigError):
        Buckets((1.0, 1.0))
    with pytest.raises(SystemExit):
        main(["duration", str(run), "--edges", "-1"])


def test_real_runs_under_two_conditions(tmp_path):
    """Synthesised clips have no file and no record: their length comes from the items, remade."""
    for condition in ("none", "silence"):
        command(tmp_path, "task.scenes=4", f"intervention={condition}")
    folder = analysed(tmp_path, tmp_path / "outputs" / "mcq_synthetic", "--edges", "4")
    found = table(folder, "buckets")
    by_run = {name: [r for r in found if r["run"] == name] for name in ("baseline", "silence")}
    shapes = {tuple((r["bucket"], r["items"]) for r in rows) for rows in by_run.values()}
    assert len(shapes) == 1  # an intervention moves no item to another bucket
    assert {int(r["items"]) > 0 for r in found} == {True}
    assert all(number(r, "score") == 1 for r in by_run["baseline"])
    assert all(number(r, "score") < 1 for r in by_run["silence"])
    assert all(number(r, "total_s") > 0 for r in found)
    facts = json.loads((folder / "duration.json").read_text())
    assert [*facts["durations_from"]["silence"]] == [lengths.RECORDING]
    assert {f.name for f in folder.iterdir()} >= {"duration.md", "duration.png", "buckets.csv"}


def test_a_real_listener_notes_stages_and_cache(tmp_path, checkpoint):
    model = ("model=hf", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32")
    words = ("task.scenes=1", "limit=4", "runtime.device=cpu", "generation.max_new_tokens=4")
    command(tmp_path, *model, *words)
    (run,) = [p.parent for p in (tmp_path / "outputs").rglob("run.json")]
    (found,) = table(analysed(tmp_path, run), "buckets")
    rows = [json.loads(line) for line in (run / "responses.jsonl").read_text().splitlines()]
    total = sum(r["timing"][f"{s}_s"] for r in rows for s in ("encoder", "prefill", "decode"))
    assert number(found, "total_s") == pytest.approx(total / 4)
    heard = sum(r["usage"]["audio_s"] for r in rows)
    assert number(found, "real_time_factor") == pytest.approx(total / heard)
    kept = sum(r["usage"]["kv_bytes"] for r in rows) / 4 / MIB
    assert number(found, "kv_mib") == pytest.approx(kept)
    assert (found["kv_n"], found["total_s_n"], found["peak_mib"]) == ("4", "4", "")
