"""Judges that fail, stop, change or work side by side: the verdicts are whole, or it is said."""

import json

import pytest

from lalm_bench.errors import BenchError, ConfigError, DataError, Incomplete
from tests.judges.conftest import (
    NAMES,
    expected,
    judged,
    metrics,
    opinion,
    prediction_of,
    prompt_of,
    rows,
    scripted,
    verdict,
)
from tests.openai_server import running


def test_a_stormy_server_costs_no_verdict_and_no_second_call(stage, answered, one):
    faults = ("429", "500", "drop", "garbage", "429_later", None)

    def fault(number, before, body):
        return faults[number % 6] if before < 2 else None

    run = answered()
    stage("run", *run)
    server = scripted(opinion, fault=fault, retry_after="0.1")
    with running(server) as url:
        place = stage("judge", *run, "judge=jasco", *one(url, max_retries=5))
        seen = server.stats()
        again = stage("judge", *run, "judge=jasco", *one(url, max_retries=5))
    assert again == place
    assert server.stats() == seen
    assert (seen["requests"], seen["successes"], seen["answered_twice"]) == (24, 24, 0)
    assert seen["asked_twice"] == 20
    decided = rows(place / "decisions.jsonl")
    assert [(r["rating[judge]"], r["orientation[judge]"]) for r in decided] == [
        expected(r) for r in decided
    ]
    values = metrics(place)
    assert (values["judge_missing"], values["judge_calls"]) == (0, 24)
    assert (values["judge_input_tokens"], values["judge_output_tokens"]) == (2400, 240)


def test_a_reply_that_does_not_come_in_time_is_asked_for_again(stage, answered, one):
    run = answered(items=1)
    stage("run", *run)

    def late(number, before, body):
        return "drip" if before < 1 and number < 3 else None

    server = scripted(opinion, fault=late)
    with running(server) as url:
        place = stage("judge", *run, "judge=jasco", *one(url, timeout_s=0.5))
    assert server.stats()["attempts"] == 8 + 3
    assert metrics(place)["judge_missing"] == 0


def test_what_has_no_verdict_is_named_and_asked_for_again_alone(stage, answered, one, tmp_path):
    run = answered()
    stage("run", *run)
    broken = {(1, 3), (2, 8)}

    def fault(number, before, body):
        _, i, k = prediction_of(json.loads(body)).split()
        return "500" if (int(i), int(k)) in broken else None

    server = scripted(opinion, fault=fault)
    with running(server) as url:
        words = (*run, "judge=jasco", *one(url))
        with pytest.raises(Incomplete, match=r"2 verdicts are missing \(judge: 1 instruction=3"):
            stage("judge", *words)
        (place,) = judged(tmp_path)
        values, state = metrics(place), json.loads((place / "run.json").read_text())
        assert (values["judge_missing"], values["n_errors"]) == (2, 2)
        assert values["judge_judged_rate"] == pytest.approx(22 / 24)
        assert state["status"] == "incomplete"
        assert state["judge"]["missing"] == ["judge: 1 instruction=3", "judge: 2 instruction=8"]
        empty = [r for r in rows(place / "decisions.jsonl") if r["rating[judge]"] is None]
        assert [(r["id"], r["malformed[judge]"], r["verdict[judge]"]) for r in empty] == [
            ("1", None, None),
            ("2", None, None),
        ]
        broken.clear()
        before = len(server.bodies)
        stage("judge", *words)
    assert len(server.bodies) == before + 2
    assert server.stats()["answered_twice"] == 0
    assert metrics(place)["judge_missing"] == 0
    assert json.loads((place / "run.json").read_text())["status"] == "finished"


def test_empty_and_unreadable_verdicts_count_as_malformed_and_take_no_neighbours(
    stage, answered, one
):
    said = {
        "1": "",
        "2": "I cannot say.",
        "3": "Rating: 3\nOrientation: Both",
        "4": "Rating: 2\nOrientation: Audio-Oriented/Speech-Oriented/Both/Neither",
        "5": "Rating: 1\nExplanation2: so it is Both",
        "6": "Rating: 1",
    }

    def opine(asked):
        if "guess what final choice" in prompt_of(asked):
            return "Both" if "so it is Both" in prompt_of(asked) else "no idea"
        return said.get(prediction_of(asked).split()[-1], verdict(2, "Both"))

    run = answered(items=1)
    stage("run", *run)
    server = scripted(opine)
    with running(server) as url:
        place = stage("judge", *run, "judge=jasco", *one(url))
        asked = len(server.bodies)
        stage("judge", *run, "judge=jasco", *one(url))
    assert len(server.bodies) == asked  # what cannot be read is not asked again either
    found = [
        (r["rating[judge]"], r["orientation[judge]"], r["malformed[judge]"])
        for r in rows(place / "decisions.jsonl")
    ]
    nothing = (None, None, 1.0)
    assert found == [
        *(nothing, nothing, (None, 2.0, 1.0), (2.0, None, 1.0)),
        *((1.0, 2.0, 0.0), (1.0, None, 1.0), (2.0, 2.0, 0.0), (2.0, 2.0, 0.0)),
    ]
    assert metrics(place)["judge_malformed_rate"] == pytest.approx(5 / 8)
    assert metrics(place)["judge_missing"] == 0


def test_what_asks_again_and_what_does_not(stage, answered, one, tmp_path):
    run = answered(items=1)
    stage("run", *run)
    server = scripted(opinion)
    with running(server) as url:
        words = ("judge=jasco", *one(url))

        def calls(*more, run=run):
            before = len(server.bodies)
            stage("judge", *run, *words, *more)
            return len(server.bodies) - before

        assert calls() == 8
        assert calls() == 0
        # How it is read, how fast it is asked, and where results are tracked ask nothing.
        assert calls("judge.panel.judge.endpoint.max_in_flight=3", "figures=true") == 0
        parser = "+judge.rubric.parser={_target_:lalm_bench.judges.parsers.Labelled,fields:{"
        parser += "rating:{low:0,high:9},orientation:{levels:{both:2},scale:nominal}}}"
        words = (*words, "judge.rubric.rescore=false")
        assert calls("~judge.rubric.parser", parser, "judge.rubric.reask=null") == 0
        # What the judge reads, who it is, and how it draws does.
        assert calls("judge.rubric.system=Be strict.") == 8
        assert calls("judge.panel.judge.served_name=other") == 8
        assert calls("judge.max_new_tokens=50") == 8
        assert calls("judge.temperature=0.5") == 8
        assert calls("judge.temperature=0.5", "judge.seed=1") == 8
        assert calls("judge=jasco_script") == 8
        # Of the answers, only the one that reads otherwise now is judged again.
        (decided,) = (tmp_path / "outputs").glob("*/*/*/*/decisions.jsonl")
        decided.write_text(decided.read_text().replace('"answer 1 4"', '"answer 1 44"'))
        assert calls() == 1


def test_calls_are_drawn_each_with_a_seed_of_its_own(stage, answered, one):
    run = answered(items=1)
    stage("run", *run)
    server = scripted(opinion)
    with running(server) as url:
        stage("judge", *run, "judge=jasco", "judge.repeats=3", *one(url))
        assert sorted({a["seed"] for a in server.bodies}) == [42, 43, 44]
        assert {a["temperature"] for a in server.bodies} == {0.0}
        server.bodies.clear()
        stage("judge", *run, "judge=jasco", "judge.repeats=3", "judge.temperature=0.7", *one(url))
        assert len({a["seed"] for a in server.bodies}) == 24
        server.bodies.clear()
        stage("judge", *run, "judge=jasco", *one(url), "judge.rubric.system=x")
        assert all("seed" not in a for a in server.bodies)


def test_a_second_judge_adds_to_the_first(stage, answered, three):
    run = answered(items=1)
    stage("run", *run)
    server = scripted(opinion)
    with running(server) as url:
        words = (*run, "judge=jasco", *three(url))
        place = stage("judge", *words, "judge.only=[llama]")
        state = json.loads((place / "run.json").read_text())
        assert (state["status"], state["judge"]["to_come"]) == ("incomplete", ["qwen", "mistral"])
        assert "rating[qwen]" not in rows(place / "decisions.jsonl")[0]
        stage("judge", *words, "judge.only=[qwen]")
        assert len(server.bodies) == 16
        stage("judge", *words)
        assert len(server.bodies) == 24
    state = json.loads((place / "run.json").read_text())
    assert (state["status"], state["judge"]["to_come"]) == ("finished", [])
    assert {n: state["judge"]["panel"][n]["calls"] for n in NAMES} == dict.fromkeys(NAMES, 8)
    decided = rows(place / "decisions.jsonl")
    for name in NAMES:
        assert [(r[f"rating[{name}]"], r[f"orientation[{name}]"]) for r in decided] == [
            expected(r) for r in decided
        ]
    assert metrics(place)["judges_alpha_rating"] == 1.0


def test_a_dry_run_counts_and_asks_and_writes_nothing(stage, answered, three, capsys, tmp_path):
    run = answered()
    stage("run", *run)
    server = scripted(opinion)
    with running(server) as url:
        words = (*run, "judge=jasco", *three(url), "judge.dry_run=true")
        place = stage("judge", *words)
        assert "dry run: 72 calls" in capsys.readouterr().out
        assert not place.exists()
        stage("judge", *run, "judge=jasco", *three(url), "judge.only=[qwen]")
        capsys.readouterr()
        stage("judge", *words)
        said = capsys.readouterr().out
    assert "qwen: 0 calls" in said
    assert "dry run: 48 calls" in said
    assert len(server.bodies) == 24


def test_structured_output_is_asked_for_only_when_it_is_wanted(stage, answered, one):
    run = answered(items=1)
    stage("run", *run)
    server = scripted(lambda asked: '{"explanation": "so", "correct": true}')
    with running(server) as url:
        stage("judge", *run, "judge=binary", *one(url))
        assert all("response_format" not in asked for asked in server.bodies)
        server.bodies.clear()
        stage("judge", *run, "judge=binary", "judge.structured=true", *one(url))
        held = [asked["response_format"] for asked in server.bodies]
        assert len(held) == 8
        assert held[0]["type"] == "json_schema"
        schema = held[0]["json_schema"]["schema"]
        assert schema["required"] == ["explanation", "correct"]
        assert schema["properties"]["correct"] == {"enum": ["true", "false"]}
        with pytest.raises(ConfigError, match="asks for no JSON"):
            stage("judge", *run, "judge=jasco", "judge.structured=true", *one(url))
    with pytest.raises(ConfigError, match="structured needs model=api"):
        stage("judge", *run, "judge=binary", "judge.structured=true", "judge/panel=local")


BAD = {
    "unknown slot": (
        [
            "judge.rubric.template='{prediction} {colour}'",
            "~judge.rubric.slots",
            "+judge.rubric.slots={prediction:text}",
        ],
        "{colour}",
    ),
    "slot without a place": (["+judge.rubric.slots.colour=text"], "no {colour}"),
    "no column": (["judge.rubric.slots.prediction=colour"], "needs colour"),
    "no field": (
        [
            "~judge.rubric.parser",
            "+judge.rubric.parser={_target_:lalm_bench.judges.parsers.Labelled,fields:{}}",
            "judge.rubric.reask=null",
        ],
        "reads no field",
    ),
    "unknown field": (["+judge.rubric.fills={correct:colour}"], "no field colour"),
    "no scale": (
        [
            "~judge.rubric.parser",
            "+judge.rubric.parser={_target_:lalm_bench.judges.parsers.Labelled,"
            "fields:{a:{low:0,high:1,scale:odd}}}",
        ],
        "scale=odd",
    ),
    "unknown judge": (["judge.only=[colour]"], "must be among judge"),
    "no such run": (["judge.runs=[0123456789abcdef]"], "no run of this fingerprint"),
    "no such folder": (["judge.runs=[nowhere/at/all]"], "no run folder"),
    "another task's rubric": (["judge=mmar_rubric"], "correct[string_match]"),
    "no decision of its kind": (["judge=mmau_pro_open"], "none of its 8 decisions"),
    "no name for a folder": (["judge.name=../up"], "no name for a folder"),
    "repeats": (["judge.repeats=2", "judge.trim=1"], "must leave a call"),
    "no baseline": (["judge=consistency"], "baseline"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, stage, answered, one, tmp_path):
    words, said = BAD[case]
    run = answered(items=1)
    stage("run", *run)
    before = sorted((tmp_path / "outputs").rglob("*"))
    rubric = () if words[0].startswith("judge=") else ("judge=jasco",)
    with pytest.raises(BenchError) as raised:
        stage("judge", *run, *rubric, *words, *one("http://127.0.0.1:9/v1"))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted((tmp_path / "outputs").rglob("*")) == before


def test_a_run_that_was_never_made_is_said_so(stage, answered, one):
    with pytest.raises(DataError, match="stage=run first"):
        stage("judge", *answered(), "judge=jasco", *one("http://127.0.0.1:9/v1"))
