"""Whole runs: a baseline that reasons, then every intervention on what it reasoned."""

import json

import pytest

from lalm_bench.errors import BenchError, ConfigError
from tests.interventions.reasoning.conftest import QUIET, SCRIPTED, read
from tests.interventions.reasoning.scripted import KILL

PROTOCOLS = ("two_turn", "reasoning")
UNUSABLE = {
    "no reasoning in the baseline",
    "the baseline's reasoning is one sentence, which its protocol drops",
}


@pytest.fixture(params=PROTOCOLS)
def words(sakura, request):
    return (*sakura, *SCRIPTED, f"protocol={request.param}")


def changed(name, **settings):
    return (f"intervention={name}", *(f"intervention.{k}={v}" for k, v in settings.items()))


def usable(baseline):
    return {name for name, row in baseline.decisions.items() if row["reasoning"]}


def test_a_model_that_believes_its_reasoning_repeats_its_answers(finish, words):
    baseline = finish(*words)
    again = finish(*words, *changed("conditioned"))
    assert again.labels == {name: baseline.labels[name] for name in usable(baseline)}
    assert 0 < len(again.labels) < len(baseline.labels) == 24
    assert again.metrics["n_skipped"] == 24 - len(again.labels)
    assert set(again.analysis["skipped"]) <= UNUSABLE
    if "protocol=two_turn" in words:
        assert again.keys < baseline.keys, "the second turn was asked as it was"


def test_at_its_bounds_an_intervention_is_conditioned_inference(finish, words):
    finish(*words)
    keys = finish(*words, *changed("conditioned")).keys
    same = (
        changed("early_answering", level=1),
        changed("filler", level=0),
        changed("filler", level=0, placement="random", tokens="lorem"),
        changed("paraphrase", level=0),
    )
    for condition in same:
        assert finish(*words, *condition).keys == keys
    for condition in (changed("early_answering", level=0), changed("filler", level=1)):
        assert not finish(*words, *condition).keys & keys


def test_without_its_reasoning_the_answer_is_asked_for_directly(finish, words):
    baseline = finish(*words)
    first = finish(*words, *changed("early_answering", level=0))
    # What the protocol `direct` of the same prompt would ask: no chain, no second turn.
    assert len(first.keys) == len(usable(baseline))
    assert all(len(row["steps"]) == 0 for row in first.decisions.values() if "steps" in row)


def test_answers_change_once_the_deciding_sentence_is_gone(finish, words):
    baseline = finish(*words)
    kept = {}
    for level in (0.5, 0.75):  # of four sentences the third names the option
        run = finish(*words, *changed("early_answering", level=level))
        kept[level] = sum(run.labels[n] == baseline.labels[n] for n in run.labels) / len(run.labels)
    assert kept[0.75] == 1.0
    dots = finish(*words, *changed("filler", level=1))
    assert set(dots.labels) == usable(baseline)


def test_injected_reasoning_is_believed(finish, words):
    for source in ("templates", "model"):
        for answer, accuracy in (("right", 1.0), ("wrong", 0.0)):
            run = finish(*words, *changed("injected_reasoning", answer=answer, source=source))
            assert run.metrics["n"] == 24
            assert run.metrics["accuracy"] == accuracy
            assert all(
                ("rationale" in row.get("steps", {})) == (source == "model")
                for row in run.decisions.values()
            )
    assert len(set(run.labels.values())) > 1


def test_a_mistake_leads_elsewhere_and_a_paraphrase_does_not(finish, words):
    baseline = finish(*words)
    wrong = finish(*words, *changed("adding_mistakes", level=1))
    same = finish(*words, *changed("paraphrase", level=1))
    assert set(wrong.labels) == set(same.labels) == usable(baseline)
    argued = [n for n in wrong.labels if "It suits" in baseline.decisions[n]["reasoning"]]
    assert len(argued) > 9
    assert all(wrong.labels[name] != baseline.labels[name] for name in argued)
    assert all(same.labels[name] == baseline.labels[name] for name in same.labels)
    for row in wrong.decisions.values():
        assert list(row["steps"]) == ["mistake", "continuation"]
        assert "never" in row["steps"]["mistake"]
    assert all(
        r["steps"]["paraphrase"].startswith("Put otherwise") for r in same.decisions.values()
    )


def test_files_made_elsewhere_need_no_step(finish, words, tmp_path):
    from lalm_bench.parsing.sentences import sentences

    baseline = finish(*words)
    names = sorted(usable(baseline))
    mistakes, paraphrases = [], []
    for name in (*names[1:], "sakura_nowhere"):
        chain = baseline.decisions.get(name, {"reasoning": "It is so. It is."})["reasoning"]
        for place, piece in enumerate(sentences(chain)):
            row = {"id": name, "chain_id": 0, "sentence_idx": place}
            mistakes.append(
                {**row, "original_sentence": piece, "mistaken_sentence": "It is a hen."}
            )
            paraphrases.append({**row, "original_text": piece, "paraphrased_text": "Just so."})
    for kind, rows, steps in (
        ("adding_mistakes", mistakes, ["continuation"]),
        ("paraphrase", paraphrases, []),
    ):
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        run = finish(*words, *changed(kind, level=1, file=path))
        assert set(run.labels) == set(names[1:])
        assert all(list(row.get("steps", {})) == steps for row in run.decisions.values())
        assert any("intervention.file" in reason for reason in run.analysis["skipped"])
        path.write_text(json.dumps(rows[0] | {"original_sentence": "?", "original_text": "?"}))
        with pytest.raises(BenchError, match=f"line 1, item '{names[1]}'"):
            finish(*words, *changed(kind, level=1, file=path), "rescore=true")


def test_where_the_model_writes_nothing_the_item_is_skipped(finish, words):
    words = (*words, "+model.mute=true")
    reasoned = len(usable(finish(*words)))
    for name, settings, count in (
        ("adding_mistakes", {"level": 0}, reasoned),
        ("paraphrase", {"level": 1}, reasoned),
        ("injected_reasoning", {"source": "model"}, 24),
    ):
        run = finish(*words, *changed(name, **settings))
        assert (run.metrics["n"], run.metrics["n_errors"]) == (0, 0)
        (wrote_nothing,) = (n for r, n in run.analysis["skipped"].items() if "wrote no" in r)
        assert wrote_nothing == count


def test_chains_outside_the_bounds_are_skipped(finish, words):
    all_of_them = usable(finish(*words))
    reason = "the number of sentences is outside intervention.restrict"
    few = finish(*words, *changed("conditioned", restrict="[1,3]"))
    many = finish(*words, *changed("conditioned", restrict="[4,6]"))
    assert few.labels.keys() | many.labels.keys() == all_of_them
    assert few.analysis["skipped"][reason] == len(many.labels) > 9
    with pytest.raises(BenchError):
        finish(*words, *changed("conditioned", restrict="[4,1]"))


def test_a_baseline_of_something_else_is_refused_before_anything_is_written(
    finish, sakura, tmp_path
):
    made = finish(*sakura, *SCRIPTED, "protocol=two_turn")
    base = changed("conditioned", baseline=made.folder)
    other = ("model.name=other",)
    before = {path for path in (tmp_path / "outputs").rglob("*") if path.name == "run.json"}
    with pytest.raises(ConfigError, match=r"protocol.*'two_turn' there and 'reasoning' here"):
        finish(*sakura, *SCRIPTED, "protocol=reasoning", *base)
    with pytest.raises(ConfigError, match=r"model\.name is 'scripted' there and 'other' here"):
        finish(*sakura, *SCRIPTED, "protocol=two_turn", *other, *base)
    with pytest.raises(ConfigError, match="protocol"):
        finish(*sakura, *SCRIPTED, *base)
    assert before == {p for p in (tmp_path / "outputs").rglob("*") if p.name == "run.json"}
    allowed = "intervention.allow_other_model=true"
    run = finish(*sakura, *SCRIPTED, "protocol=reasoning", *other, *base, allowed)
    assert run.labels == {name: made.labels[name] for name in usable(made)}


def test_without_its_baseline_the_remedy_is_named(bench, sakura):
    words = (*sakura, *SCRIPTED, *QUIET, "protocol=two_turn", *changed("conditioned"))
    said = bench(*words, check=2).stderr
    assert len(said.splitlines()) == 1
    assert "intervention=none" in said
    assert not list(bench.outputs.rglob("run.json"))
    assert "auto" in bench(*words, "--cfg=job", check=0).stdout


@pytest.mark.parametrize("after", [3, 14, 27])
def test_a_kill_between_the_steps_loses_nothing(bench, run_folders, finish, sakura, after):
    """kill -9 while mistakes, continuations or answers arrive; then the same command again."""
    words = (*sakura, *SCRIPTED, *QUIET, "protocol=two_turn")
    finish(*words)
    kept = set(run_folders())
    changes = changed("adding_mistakes", level=0.5)
    killed = bench(*words, *changes, env={KILL: str(after)})
    assert killed.returncode == -9
    (folder,) = (f for name, f in run_folders().items() if name not in kept)
    lines = (folder / "responses.jsonl").read_text().splitlines()
    assert len(lines) == after, "the kill came at another place"
    bench(*words, *changes, check=0)
    resumed = read(folder)
    assert len(resumed.keys) == len(resumed.texts) == 3 * len(resumed.labels)
    for name in ("responses.jsonl", "decisions.jsonl", "metrics.json", "run.json"):
        (folder / name).unlink()
    whole = finish(*words, *changes)
    assert (whole.folder, whole.decisions) == (folder, resumed.decisions)
    assert whole.keys == resumed.keys


# Noise has neither sentences nor tags, and by tags all of it counts as reasoning.
NOISE = ("protocol=qwen_reasoning", "task.max_new_tokens=24", "model.dtype=float32")


def test_a_language_model_goes_through_all_of_it_on_real_questions(finish, shared_data, checkpoint):
    words = (
        *("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=6", *NOISE),
        *("model=text", f"model.path={checkpoint('tiny_llama')}"),
    )
    baseline = finish(*words)
    reasoned = usable(baseline)
    assert len(reasoned) > 2
    short = ("intervention.writer.max_new_tokens=16",)
    for name, more in (
        ("conditioned", ()),
        ("early_answering", ()),
        ("filler", ()),
        ("paraphrase", short),
        ("adding_mistakes", (*short, "intervention.continuation_tokens=16")),
    ):
        run = finish(*words, *changed(name), *more)
        assert run.metrics["n"] + run.metrics["n_skipped"] == 6
        assert run.metrics["n_errors"] == 0
        assert run.labels.keys() <= reasoned
        # Noise rarely has three words, and what has not is skipped.
        assert run.labels or name == "adding_mistakes"
    run = finish(*words, *changed("injected_reasoning", source="model"), *short)
    assert run.metrics["n"] + run.metrics["n_skipped"] == 6
    assert all(row["steps"]["rationale"].strip() for row in run.decisions.values())


def test_every_order_of_the_options_has_its_own_reasoning(finish, words):
    words = (*words, "task.options=circular")
    lines = [
        {(row["id"], row["variant"]): row["label"] for row in rows(finish(*words, *more))}
        for more in ((), changed("conditioned"), changed("filler", level=0.1, placement="end"))
    ]
    baseline, again, filler = lines
    assert again.items() < baseline.items()
    assert len(again) == len(filler) > 40
    wrong = finish(*words, *changed("injected_reasoning", answer="wrong"))
    assert wrong.metrics["accuracy"] == 0.0
    # One wrong option an item, whatever stands where.
    assert len({(row["id"], row["label"]) for row in rows(wrong)}) == 24


def rows(run):
    return [json.loads(line) for line in (run.folder / "decisions.jsonl").read_text().splitlines()]


def test_a_model_that_hears_writes_over_a_silent_clip(finish, sakura, checkpoint):
    words = (
        *(*sakura, "limit=3", *NOISE),
        *("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}"),
    )
    finish(*words)
    written = ("intervention.writer.max_new_tokens=8", "intervention.writer.silent_clip=true")
    run = finish(*words, *changed("paraphrase", level=1), *written)
    asked = [json.loads(s) for s in (run.folder / "responses.jsonl").read_text().splitlines()]
    assert run.metrics["n_errors"] == 0
    assert {round(row["usage"]["audio_s"], 2) for row in asked} == {1.0, 0.5}
