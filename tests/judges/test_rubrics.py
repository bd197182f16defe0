"""Every rubric: the published prompts letter by letter, and a whole pass over its task."""

import csv
import hashlib
import json
import re
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench.errors import Incomplete
from lalm_bench.tasks.sakura import TRACKS
from tests.conftest import ROOT
from tests.judges.conftest import prompt_of, rows, scripted
from tests.models import test_every_task
from tests.openai_server import running
from tests.tasks import test_mmau, test_mmau_pro

RUBRICS = sorted(
    path.stem
    for path in (ROOT / "conf" / "judge").glob("*.yaml")
    if path.stem not in ("base", "none")
)
ROW = {
    "id": "1",
    "question": "What barks?",
    "options": {"a": "dog", "b": "hail"},
    "target": "b",
    "target_text": "hail",
    "label_text": "hail",
    "thinking": "One hears\n   hail.",
    "reasoning": "I hear\n  hail",
    "rubric": [
        {"name": f"Cue {n}", "scoring_point": f"Award 1 point for {n}.", "choices": [0, 1]}
        for n in range(5)
    ],
    "text": "They cook.",
}
JASCO = {
    "id": "1",
    "prompt": "What are they doing?",
    "audio_sound": "Waves, gulls",
    "spoken_text": "Let’s build.",
    "audio_only_target": "swim",
    "speech_only_target": "build",
    "target": "They build a sandcastle.",
    "target_keywords": "sandcastle",
    "text": "They cook.",
}
# Of the system message and the user's turn that the published texts give for these decisions,
# computed from those texts and not from conf/judge.
PUBLISHED = {
    "jasco": (JASCO, "6b381d4d1f86c8b4e4874a691538ec19"),
    "jasco_script": (JASCO, "e2fac92df8b74930cbfd354c16fd8577"),
    "sakura": (ROW, "8020b756a1a60faa6c1ae96c47207f51"),
    "mmau_pro_open": (
        {**ROW, "target": "They build a sandcastle."},
        "53ef9abe8256a771c604c2456db9b233",
    ),
    "mmar_rubric": (ROW, "8d3cc0a84eb8383792160a0f7eb40ded"),
}
REASK = "887f03441f897d9300f63c6215d80a7e"


@cache
def judge_node(name):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [f"judge={name}"]).judge


def rubric(name):
    return instantiate(judge_node(name).rubric, _convert_="all")


def digest(messages):
    told = "\0".join(m.parts[0].text for m in messages)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_prompt_is_published_byte_for_byte(name):
    row, published = PUBLISHED[name]
    messages, count = rubric(name).messages(row)
    assert [m.role for m in messages] == ["system", "user"]
    assert count == 0
    assert digest(messages) == published


@pytest.mark.parametrize("name", ["jasco", "jasco_script"])
def test_the_published_second_question(name):
    values = {"rating": 2.0, "orientation": None}
    reply = "Rating: 2\nExplanation2: no\nExplanation2: I think Both"
    messages = rubric(name).second(JASCO, reply, values)
    assert digest(messages) == REASK
    assert rubric(name).second(JASCO, reply, {"rating": None, "orientation": 2.0}) is None


def test_published_settings():
    sakura, mmar, pro = (judge_node(n) for n in ("sakura", "mmar_rubric", "mmau_pro_open"))
    assert (sakura.temperature, sakura.top_p) == (0, 0.9)
    assert (mmar.temperature, mmar.seed, mmar.repeats, mmar.trim) == (0, 42, 5, 1)
    assert (pro.temperature, pro.max_new_tokens) == (0.1, 512)


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def sakura_data(folder):
    columns = ("file", "attribute_label", "single_instruction", "single_answer")
    columns += ("multi_instruction", "multi_answer")
    for track in TRACKS:
        table = folder / "data" / track / "metadata.csv"
        table.parent.mkdir(parents=True)
        with open(table, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for n in range(2):
                test_every_task.sound(table.parent / "audio" / f"{n}.wav", 0.2)
                asked = [f"Which {track} is it? (a) such (b) other", " (a) such"]
                hop = [f"What follows of {track}? (a) yes (b) no", "(b) no"]
                writer.writerow([f"{n}.wav", "such", *asked, *hop])
    return [f"task.root={folder}"]


def test_sakura_by_track_and_hop(stage, one, tmp_path):
    run = ["task=sakura", *sakura_data(tmp_path / "sakura"), "model=random"]
    stage("run", *run)
    seen = []

    def opinion(asked):
        said = prompt_of(asked)
        seen.append(
            re.search(r"for you to judge:\n\s+Question: (.*)\n\s+Ground.*?: (.*)\n", said)[0]
        )
        if "Gender is it" in seen[-1]:
            return "Explanation: x\nJudgement: correct"
        if "of Animal" in seen[-1]:
            return "I will not say."
        return "Explanation: x\nJudgement: Incorrect."

    with running(scripted(opinion)) as url:
        place = stage("judge", *run, "judge=sakura", *one(url))
    assert {s.split("Question: ")[1].split("\n")[0] for s in seen} == {
        text
        for track in TRACKS
        for text in (
            f"Which {track} is it? (a) such (b) other",
            f"What follows of {track}? (a) yes (b) no",
        )
    }
    assert {s.split("answer: ")[1].strip() for s in seen} == {"(a) such", "(b) no"}
    values = metrics(place)
    assert (values["n"], values["accuracy"]) == (16, 2 / 16)
    assert (values["accuracy_single"], values["accuracy_multi"]) == (2 / 8, 0.0)
    by = json.loads((place / "analysis.json").read_text())["by_track_and_hop"]
    right = {(r["track"], r["hop"]): r["accuracy"] for r in by}
    assert right.pop(("gender", "single")) == 1.0
    assert len(right) == 7
    assert not any(right.values())
    assert values["judge_malformed_rate"] == 2 / 16
    assert values["judge_correct"] == pytest.approx(2 / 14)  # of the verdicts that can be read


@pytest.fixture
def mmar(tmp_path):
    """Three items: two right, of which one has a judge that never keeps to the form; one wrong."""
    row = {**test_mmau.MMAR, "choices": ["Dog", "Cat"]} | {
        "thinking": "It barks.",
        "rubric": ROW["rubric"],
    }
    words = test_every_task.questions(tmp_path / "mmar", "q.jsonl", row, "audio_path")
    said = {"u0": "A dog", "u1": "Dog, as told", "u2": "Cat"}
    (tmp_path / "said.csv").write_text(
        "id,output\n" + "".join(f'{k},"{v}"\n' for k, v in said.items())
    )
    answers = ("model=predictions", "model.rate=null", f"model.path={tmp_path / 'said.csv'}")
    return ["task=mmar", *words, *answers]


def test_mmar_gate_five_calls_and_trimming(stage, one, mmar):
    stage("run", *mmar)
    met = {42: 5, 43: 4, 44: 3, 45: 2, 46: 0}

    def opinion(asked):
        if "as told" in prompt_of(asked) or len(asked["messages"]) > 2:
            return '[{"name": "Cue 0", "score": 1}]'
        scores = [int(n < met[asked["seed"]]) for n in range(5)]
        return "Here: " + json.dumps(
            [{"name": f"Cue {n}", "score": s} for n, s in enumerate(scores)]
        )

    server = scripted(opinion)
    with running(server) as url:
        place = stage("judge", *mmar, "judge=mmar_rubric", *one(url))
    decided = {r["id"]: r for r in rows(place / "decisions.jsonl")}
    assert [decided[i]["correct[string_match]"] for i in ("u0", "u1", "u2")] == [1.0, 1.0, 0.0]
    # Five calls on each answer that the match lets through, and one more for each bad form.
    assert len(server.bodies) == 5 + 10
    assert not any("Cat" in prompt_of(a).split("Submission")[-1] for a in server.bodies)
    assert decided["u0"]["score[judge]"] == pytest.approx((0.8 + 0.6 + 0.4) / 3)
    assert (decided["u1"]["score[judge]"], decided["u1"]["malformed[judge]"]) == (None, 1.0)
    assert (decided["u2"]["score[judge]"], decided["u2"]["malformed[judge]"]) == (0.0, 0.0)
    values = metrics(place)
    assert values["judge_score"] == pytest.approx((0.6 + 0) / 2)
    assert values["judge_malformed_rate"] == pytest.approx(1 / 3)
    assert values["judge_missing"] == 0


def test_mmau_pro_gets_its_overall(stage, one, tmp_path):
    run = ["task=mmau_pro", *test_every_task.mmau_pro(tmp_path / "pro", None)]
    said = {"c1": "a dog", "c2": "hail", "o1": "It rains.", "o2": "Yes", "i1": "a", "i2": "a b"}
    (tmp_path / "said.csv").write_text(
        "id,output\n" + "".join(f"{k},{v}\n" for k, v in said.items())
    )
    run += ["model=predictions", "model.rate=null", f"model.path={tmp_path / 'said.csv'}"]
    before = metrics(stage("run", *run))
    assert before["overall"] is None

    def opinion(asked):
        score = 4 if "It rains." in prompt_of(asked) else 2
        names = ("CORRECTNESS", "RELEVANCE", "COMPLETENESS", "CLARITY", "OVERALL")
        return "\n".join(f"**{name}**: {score} - so" for name in names)

    server = scripted(opinion)
    with running(server) as url:
        place = stage("judge", *run, "judge=mmau_pro_open", *one(url))
    assert len(server.bodies) == 2
    values = metrics(place)
    assert values["n"] == before["n"] == len(test_mmau_pro.ROWS)
    assert values["open_mean"] == 3.0
    assert values["accuracy"] == before["accuracy"]
    closed, followed = before["accuracy"], before["if_success_rate"]
    assert values["overall"] == pytest.approx((2 * closed + 2 * followed + 2 * 3 / 5) / 6)
    assert values["judge_overall"] == 3.0


@pytest.mark.parametrize("task", ["mmar", "mcq"])
def test_binary_on_any_task_with_a_target(task, stage, one, tmp_path, mmar):
    if task == "mcq":
        run = ["task=mcq", *test_every_task.mcq(tmp_path / "mcq", None), "model=random"]
    else:
        run = mmar
    stage("run", *run)
    right = {"mmar": lambda said: "A dog" in said, "mcq": lambda said: True}[task]

    def opinion(asked):
        said = prompt_of(asked)
        if "as told" in said or len(asked["messages"]) > 2:
            return "no verdict"
        return json.dumps({"explanation": "x", "correct": right(said)})

    server = scripted(opinion)
    with running(server) as url:
        place = stage("judge", *run, "judge=binary", *one(url))
    values = metrics(place)
    if task == "mcq":
        assert (values["n"], values["accuracy"]) == (1, 1.0)
        return
    assert len(server.bodies) == 4  # one is asked a second time for its form
    assert (values["n"], values["accuracy"]) == (3, pytest.approx(1 / 3))
    assert values["judge_correct"] == 0.5


def test_a_decision_that_lost_its_verdict_is_not_scored_by_the_task_instead(stage, one, mmar):
    folder = stage("run", *mmar)

    def fault(number, before, body):
        return "500" if b"as told" in body else None

    server = scripted(lambda asked: '{"correct": false}', fault=fault)
    with running(server) as url, pytest.raises(Incomplete, match="1 verdicts are missing"):
        stage("judge", *mmar, "judge=binary", *one(url))
    values = metrics(folder / "judge" / "binary")
    assert (values["n"], values["n_errors"], values["accuracy"]) == (2, 1, 0.0)


def test_consistency_with_the_unchanged_run(stage, one, tmp_path):
    """What a masked run reasoned, and what the same run without intervention did."""
    data = test_every_task.mcq(tmp_path / "mcq", None)

    def reasoned(asked):
        return f"I hear a beep of {len(str(asked))} kinds. The answer is A."

    seen = []

    def opinion(asked):
        seen.append(prompt_of(asked))
        return '{"explanation": "x", "consistency": 4}'

    with running(scripted(reasoned)) as model, running(scripted(opinion)) as url:
        run = ["task=mcq", *data, "protocol=reasoning", "model=api", "model.served_name=m"]
        run += ["model.name=m", f"model.endpoint.base_url={model}"]
        stage("run", *run)
        masked = [*run, "intervention=mask", "intervention.ratio=0.5"]
        stage("run", *masked)
        place = stage("judge", *masked, "judge=consistency", *one(url))
    (said,) = seen
    first, second = re.search(r"FIRST\n(.*)\nEND\n\nSECOND\n(.*)\nEND", said, re.S).groups()
    assert "I hear a beep" in first
    assert "I hear a beep" in second
    (row,) = rows(place / "decisions.jsonl")
    assert row["consistency[judge]"] == 4.0
    assert metrics(place)["judge_consistency"] == 4.0


def test_a_rubric_of_ones_own_is_one_file(bench, answered, one, tmp_path):
    """One YAML in a folder of the user's; a changed template asks again."""
    run = answered(items=1)
    own = tmp_path / "mine" / "judge" / "brevity.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        """
defaults: [base, _self_]
rubric:
  _target_: lalm_bench.judges.rubric.Rubric
  name: brevity
  template: "Is this short? {answer}\\nReply with `Short: yes` or `Short: no`."
  slots: {answer: text}
  written: [answer]
  parser:
    _target_: lalm_bench.judges.parsers.Labelled
    fields:
      short: {levels: {"yes": 1, "no": 0}, scale: binary}
"""
    )

    def opinion(asked):
        return "Short: no" if "answer 1 8" in prompt_of(asked) else "**Short:** Yes."

    server = scripted(opinion)
    with running(server) as url:
        done = bench(
            f"--config-dir={tmp_path / 'mine'}",
            *("tracking=none", "figures=false"),
            *run,
            "judge=brevity",
            *one(url),
            check=0,
        )
    assert "judge_short" in done.stdout
    (place,) = (tmp_path / "outputs").glob("*/*/*/*/judge/brevity")
    assert metrics(place)["judge_short"] == pytest.approx(7 / 8)
    assert len(server.bodies) == 8


@pytest.mark.parametrize("name", RUBRICS)
def test_every_rubric_says_what_it_may_be_compared_with(name):
    made = rubric(name)
    assert made.name == name
    assert made.fields
    assert "comparable" in judge_node(name).rubric
