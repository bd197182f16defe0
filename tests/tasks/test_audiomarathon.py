"""The nine tasks with options, on small data of the published layouts."""

import json

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli
from lalm_bench.build import build
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.preflight import select
from lalm_bench.tasks.audiomarathon import legacy
from lalm_bench.tasks.audiomarathon.duration import bucket
from lalm_bench.types import Choice, Generation, Message, Response, Text
from tests.tasks import audiomarathon_layouts as layouts

TASKS = layouts.CHOICE_TASKS
STYLES = ("default", "legacy")


def task(name, root, *overrides):
    with initialize_config_dir(cli.home("conf"), version_base="1.3"):
        words = [f"task={name}", f"task.root={root}", "tracking=none", *overrides]
        return build(compose("config", words)).task


def asked(made, sample):
    (request,) = made.requests(sample, Generation())
    return [
        (m.role, "".join(p.text for p in m.parts if isinstance(p, Text))) for m in request.messages
    ]


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", TASKS)
def test_every_layout_is_read_whole(name, tmp_path):
    write, count = TASKS[name]
    write(tmp_path)
    made = task(name, tmp_path)
    assert made.missing(audio=True) == []
    samples = select(made.samples(), None, 7)
    assert len(samples) == count
    assert {c.label for s in samples for c in s.choices} == set(made.classes)
    assert {s.target for s in samples} <= set(made.classes)
    assert all(s.question and s.meta["seconds"] > 90 for s in samples)
    assert all(path.exists() for path in made.inputs())
    assert [s.id for s in made.samples()] == [s.id for s in samples]


@pytest.mark.parametrize("name", TASKS)
def test_both_styles_ask_of_every_item(name, tmp_path):
    TASKS[name][0](tmp_path)
    for style in STYLES:
        made = task(name, tmp_path, f"task.style={style}")
        sample = made.samples()[0]
        *_, (role, text) = asked(made, sample)
        assert role == "user"
        assert "{" not in text
        if name not in ("had", "vox_gender") or style == "default":
            assert all(c.text in text for c in sample.choices)


@pytest.mark.parametrize("name", TASKS)
def test_a_run_with_guesses(name, tmp_path, bench, run_folders):
    data = tmp_path / "data"
    TASKS[name][0](data)
    words = (f"task={name}", f"task.root={data}", "model=random", "tracking=none", "figures=false")
    bench(*words, check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert values["n"] == TASKS[name][1]
    assert 0 <= values["macro_f1"] <= 1
    assert values["macro_f1_low"] <= values["macro_f1"] <= values["macro_f1_high"]
    assert values["accuracy"] == values["accuracy[legacy]"]
    assert values["invalid_rate[legacy]"] == 0
    assert values["chance"] == 1 / len(rows(folder / "decisions.jsonl")[0]["options"])
    analysis = json.loads((folder / "analysis.json").read_text())
    assert all(0 <= row["macro_f1"] <= 1 for row in analysis["by_duration"])
    assert {c["class"] for c in analysis["classes"]} == set("ABCDE"[: round(1 / values["chance"])])


def test_the_published_prompts(tmp_path):
    layouts.race(tmp_path / "race")
    layouts.tau(tmp_path / "tau")
    layouts.vox_age(tmp_path / "age")
    made = task("race", tmp_path / "race", "task.style=legacy")
    (system, identity), (_, text) = asked(made, made.samples()[0])
    assert system == "system"
    assert identity.startswith("You are Qwen,")
    assert text.endswith(
        "Question: What happened on day 0?\n\nOptions:\nA. event 0w\nB. event 0x\nC. event 0y\n"
        "D. event 0z\n\nRespond with only the letter of the correct option (A, B, C, or D)."
    )
    made = task("tau", tmp_path / "tau", "task.style=legacy")
    _, (_, text) = asked(made, made.samples()[0])
    assert "\nA: Airport - airport\nB: Metro - metro\n" in text
    assert "this segment" not in text, "the published script does not ask the table's question"
    made = task("vox_age", tmp_path / "age", "task.style=legacy")
    assert made.max_new_tokens == 5
    _, (_, text) = asked(made, made.samples()[0])
    assert "\nE) Elderly (71+)\n" in text


def test_the_listing_follows_the_order_of_options(tmp_path):
    layouts.tau(tmp_path)
    made = task("tau", tmp_path, "task.style=legacy", "task.options=circular")
    requests = made.requests(made.samples()[0], Generation())
    assert len(requests) == 4
    assert "\nA: Metro - metro\n" in requests[1].messages[-1].parts[-1].text


def test_an_unknown_style_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"task\.style='odd' must be one of default, legacy"):
        task("race", tmp_path, "task.style=odd")
    with pytest.raises(ConfigError, match=r"legacy\.token"):
        task("race", tmp_path, "+task.styles.legacy.token=3", "task.style=legacy")


def test_facts_that_group_and_cluster(tmp_path):
    layouts.race(tmp_path / "race")
    samples = task("race", tmp_path / "race").samples()
    assert [s.meta["subset"] for s in samples[:2]] == ["high", "middle"]
    assert [s.cluster for s in samples] == ["art0", "art0", "art1", "art1", "art2", "art2"]
    assert samples[0].id == "0"
    layouts.vesus(tmp_path / "vesus")
    made = task("vesus", tmp_path / "vesus")
    samples = made.samples()
    assert [s.cluster for s in samples] == ["0", "1", "2", "3", "4"]
    assert samples[0].id.startswith("0.wav#"), "no id in the table"
    assert made.report()["dropped"] == {"excluded": 1}
    layouts.vox_gender(tmp_path / "gender")
    assert {s.cluster for s in task("vox_gender", tmp_path / "gender").samples()} <= {
        "id0",
        "id1",
        "id2",
    }


def test_an_item_without_a_name_is_called_the_same_in_every_style(tmp_path):
    layouts.tau(tmp_path)
    path = tmp_path / "acoustic_scene_task_meta.json"
    content = [{k: v for k, v in r.items() if k != "uniq_id"} for r in json.loads(path.read_text())]
    path.write_text(json.dumps(content))
    ids = [[s.id for s in task("tau", tmp_path, f"task.style={x}").samples()] for x in STYLES]
    assert ids[0] == ids[1]
    assert ids[0][0].startswith("airport/airport_0.wav#")
    for row in content:
        del row["question"]
    path.write_text(json.dumps(content))
    assert len(task("tau", tmp_path, "task.style=legacy").samples()) == 4
    assert all("'question' is missing" in s.fault for s in task("tau", tmp_path).samples())


def test_balancing_depends_on_ids_alone(tmp_path):
    layouts.vox_gender(tmp_path)
    path = tmp_path / "gender_id_task_meta.json"
    content = json.loads(path.read_text())
    made = task("vox_gender", tmp_path)
    first = {s.id for s in made.samples()}
    assert made.report()["dropped"]["to balance the classes"] == 2
    path.write_text(json.dumps(content[::-1]))
    assert {s.id for s in made.samples()} == first
    assert len(task("vox_gender", tmp_path, "task.balance=false").samples()) == 6
    path.write_text(json.dumps(content[:4]))
    with pytest.raises(DataError, match=r"no item has the answer B.*task\.balance=false"):
        made.samples()


def broken(row, **changes):
    return {**row, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer_gt": "E"}, "'E' is none of its options"),
        ({"answer_gt": ""}, "'answer_gt' must be a non-empty text"),
        ({"path": None}, "'path' must be a non-empty text"),
        ({"choice_c": ["jazz"]}, "'choice_c' must be a non-empty text"),
        ({"answer_gt": "A", "choice_b": "A"}, "fits options A, B"),
        ({"question": 3}, "'question' must be a non-empty text"),
    ],
)
def test_a_bad_row_is_named(tmp_path, changes, said):
    layouts.gtzan(tmp_path)
    path = tmp_path / "music_genre_classification_meta.json"
    content = json.loads(path.read_text())
    content[2] |= changes
    path.write_text(json.dumps(content))
    (bad,) = [s for s in task("gtzan", tmp_path).samples() if s.fault]
    assert bad.id == "gtzan_2"
    assert said in bad.fault
    assert "item 3 ('gtzan_2')" in bad.fault


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[", "not JSON"),
        (b"[]", "no list of items"),
        (b'{"a": []}', "no list of items"),
        ('["é"]'.encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, content, said):
    layouts.gtzan(tmp_path)
    (tmp_path / "music_genre_classification_meta.json").write_bytes(content)
    with pytest.raises(DataError, match=said):
        task("gtzan", tmp_path).samples()


def test_byte_order_marks_and_crlf_are_read(tmp_path):
    layouts.gtzan(tmp_path)
    path = tmp_path / "music_genre_classification_meta.json"
    text = json.dumps(json.loads(path.read_text()), indent=1)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(task("gtzan", tmp_path).samples()) == 4


def test_what_is_not_there_is_said(tmp_path, bench):
    (wanted, folder) = task("vox_age", tmp_path).missing(audio=True)
    assert "age_classification_task_meta.json" in wanted
    assert "fetch audiomarathon" in wanted
    assert folder.startswith(str(tmp_path / "wav"))
    layouts.slue(tmp_path)
    (tmp_path / "other.json").write_text("[]")
    (wanted,) = task("slue", tmp_path).missing(audio=True)
    assert "several tables (other.json, slue_task.json)" in wanted
    assert len(task("slue", tmp_path, "task.table=slue_task.json").samples()) == 4
    (tmp_path / "real").mkdir()
    done = bench("task=had", f"task.root={tmp_path}", "model=random", "tracking=none", check=2)
    assert "fake: no such folder" in done.stderr


def test_a_recording_added_makes_a_finished_run_start_again(tmp_path, bench):
    data = tmp_path / "data"
    layouts.had(data)
    words = ("task=had", f"task.root={data}", "model=random", "tracking=none", "figures=false")
    bench(*words, check=0)
    assert "already finished" in bench(*words, check=0).stdout
    layouts.clip(data / "fake" / "f9.wav", 185, seed=9)
    assert "already finished" not in bench(*words, check=0).stdout


def test_silence_about_durations_without_audio(tmp_path):
    layouts.gtzan(tmp_path)
    for file in tmp_path.rglob("*.wav"):
        file.unlink()
    samples = task("gtzan", tmp_path).samples()
    assert {s.meta["duration"] for s in samples} == {"unknown"}


def test_buckets_sort_as_text():
    seconds = [0, 89.99, 90, 119.9, 120, 179.9, 180, 300, 300.01, 900]
    names = [bucket(s) for s in seconds]
    assert names == sorted(names)
    assert len(set(names)) == 5


def test_both_extractions_are_scored(tmp_path):
    layouts.race(tmp_path)
    made = task("race", tmp_path)
    sample = made.samples()[1]  # the answer is B
    (score,) = made.score(sample, [Response("k", sample.id, "The answer is B")])
    assert score.values["correct"] == 1.0
    assert score.values["correct[legacy]"] == 0.0, "the first letter of 'answer' is A"
    assert score.values["option[legacy]"] == 0.0
    (score,) = made.score(sample, [Response("k", sample.id, "Hm")])
    assert score.invalid
    assert score.values["option[legacy]"] != score.values["option[legacy]"]


REAL = (Choice("A", "Real"), Choice("B", "Fake"))
SEXES = (Choice("A", "Male"), Choice("B", "Female"))
MOODS = tuple(
    Choice(a, t) for a, t in zip("ABCD", ("angry", "happy", "sad", "monotone"), strict=True)
)
PLACES = tuple(Choice(a, t) for a, t in zip("ABCD", layouts.SCENES, strict=True))


@pytest.mark.parametrize(
    ("rule", "choices", "text", "label"),
    [
        # What the published rules are known to read, wrong readings included.
        (legacy.had, REAL, "It is a fake clip.", "A"),
        (legacy.had, REAL, "contains a fake segment", "A"),
        (legacy.had, REAL, "b", "B"),
        (legacy.had, REAL, "assistant\nB.", "B"),
        (legacy.had, REAL, "It's fake", "B"),
        (legacy.had, REAL, "real or fake", None),
        (legacy.had, REAL, "", None),
        (legacy.vox_gender, SEXES, "Female", "B"),
        (legacy.vox_gender, SEXES, "option a", "A"),
        (legacy.vox_gender, SEXES, "It is a man", None),
        (legacy.vesus, MOODS, "The answer is B", None),
        (legacy.vesus, MOODS, "happy", None),
        (legacy.vesus, MOODS, "(b)", "B"),
        (legacy.vesus, MOODS, "choice d", "D"),
        (legacy.tau, PLACES, "The answer is B", None),
        (legacy.tau, PLACES, "c: metro station", "C"),
        (legacy.tau, PLACES, "It sounds like Tram - tram.", "D"),
        (legacy.tau, PLACES, "a metro station", "C"),
        (legacy.tau, PLACES, "a tram", None),
    ],
)
def test_the_published_rules(rule, choices, text, label):
    assert rule(text, choices).label == label
    assert (rule(text, choices).stage in ("none", "empty")) == (label is None)


def test_the_system_turn_can_be_taken_away(tmp_path):
    layouts.gtzan(tmp_path)
    made = task("gtzan", tmp_path, "task.style=legacy", "task.styles.legacy.system=null")
    (request,) = made.requests(made.samples()[0], Generation())
    assert [m.role for m in request.messages] == ["user"]
    assert isinstance(request.messages[0], Message)


@pytest.mark.parametrize("name", ["had", "vox_gender"])
@pytest.mark.parametrize("order", ["shuffled", "circular"])
def test_a_prompt_that_names_the_letters_itself_knows_one_order(name, order, tmp_path):
    """It says "a if male" whatever is shown where: another order would swap right and wrong."""
    with pytest.raises(ConfigError, match=r"task\.options=.* lists no options"):
        task(name, tmp_path, "task.style=legacy", f"task.options={order}")
    assert task(name, tmp_path, f"task.options={order}").options == order
