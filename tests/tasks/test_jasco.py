"""JASCO on its 80 real recordings: requests, the published tables, verdicts, both scores."""

import csv
import json
import re
import shutil

import pytest
import soundfile

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.judges.check import check
from lalm_bench.judges.rated import read
from lalm_bench.parsing.jasco import ORIENTATIONS, verdict
from lalm_bench.tasks.jasco import Jasco
from lalm_bench.tasks.jasco_files import EVALUATION, main
from lalm_bench.tasks.jasco_judged import judged_rows
from lalm_bench.types import Generation, Response
from tests.openai_server import Server, running
from tests.test_conf import experiment

QUIET = ("tracking=none", "figures=false")
JUDGED = "Explanation1: x\nRating: {}\nExplanation2: y\nOrientation: {}"


@pytest.fixture
def root(shared_data):
    return shared_data / "jasco"


@pytest.fixture(scope="module")
def instructions():
    return list(experiment("task=jasco").task.instructions)


@pytest.fixture
def jasco(root, instructions):
    def make(**more):
        settings = {"name": "jasco", "root": str(root), "instructions": instructions} | more
        return Jasco(**settings)

    return make


def reference(root):
    with open(root / "dataset" / "v0" / "v0.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def evaluation_row(row, prompt, answer):
    """A row of the published evaluation table, of a row of the dataset."""
    return {
        "id": int(row["audio_id"]),
        "audio": f"{{data_folder}}/{int(row['audio_id'])}.wav",
        "n_frames": 1,
        "audio_sound": row["Audio"],
        "spoken_text": row["Speech"],
        "prompt": prompt,
        "with_speech": True,
        "audio_only_target": row["Audio-Only Answer"],
        "speech_only_target": row["Speech-Only Answer"],
        "target_keywords": row["Correct Answer Keyword"],
        "tgt_text": row["Correct Answer"],
        "allm_output": answer,
    }


@pytest.fixture
def published(root, instructions, tmp_path):
    """`published(name, **columns)`: the evaluation table, cells by (item number, instruction)."""

    def write(name, answer, **columns):
        path = tmp_path / name
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*EVALUATION, *columns])
            writer.writeheader()
            for row in reference(root):
                for k, prompt in enumerate(instructions, 1):
                    i = int(row["audio_id"])
                    cells = evaluation_row(row, prompt, answer(i, k))
                    writer.writerow(cells | {n: f(i, k) for n, f in columns.items()})
        return path

    return write


def test_eighty_clips_times_eight_instructions(jasco, instructions):
    task = jasco()
    samples = list(task.samples())
    assert [s.id for s in samples] == [str(i) for i in range(1, 81)]
    assert samples[0].target == "They are planning to build a sandcastle."
    assert samples[0].meta["target_keywords"] == "sandcastle"
    assert "’" in samples[0].meta["spoken_text"]
    requests = [r for s in samples for r in task.requests(s, Generation())]
    assert len({(r.sample_id, r.variant) for r in requests}) == 640
    assert [r.question for r in requests[:8]] == instructions
    assert all(len(r.clips()) == 1 and not r.choices for r in requests)
    assert all(r.messages[0].parts[-1].text == r.question for r in requests)
    lengths = [soundfile.info(s.audio[0].path) for s in samples]
    assert {i.samplerate for i in lengths} == {16000, 48000}


def test_the_published_answers_come_in_and_go_out(
    bench, run_folders, root, published, tmp_path, instructions
):
    """example.csv with filled answers -> a run -> the same table, frame counts being real."""
    path = published("example.csv", lambda i, k: f"answer {i}, {k}\nsecond line")
    words = ("task=jasco", f"task.root={root}", "model=predictions", f"model.path={path}", *QUIET)
    done = bench(*words, check=0)
    (folder,) = run_folders().values()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["metrics"]["n_answers"] == 640
    assert metrics["timing"]["missing"] == metrics["timing"]["extra"] == 0
    assert metrics["metrics"]["best_mean"] is None
    assert "needs verdicts" in done.stdout
    out = tmp_path / "evaluation.csv"
    assert main([str(folder), str(out)]) == 0
    with open(path, newline="") as before, open(out, newline="") as after:
        first, second = list(csv.DictReader(before)), list(csv.DictReader(after))
    assert list(second[0]) == list(EVALUATION)
    assert int(second[0]["n_frames"]) == soundfile.info(root / "dataset/v0/1.wav").frames
    for row in (*first, *second):
        del row["n_frames"]
    assert first == second
    assert main([str(folder), str(out)]) == 2  # it may hold verdicts by now


def test_both_tables_of_scores_from_three_judges(bench, run_folders, root, published):
    """Hand-computed: judge one rates by instruction, two always 0 and Neither, three half."""
    answer = "They build {}".format
    judges = {
        # Rating 2 and Both on instruction 8 of even items, else 1 and Speech-Oriented.
        "one": lambda i, k: JUDGED.format(
            *((2, "Both") if k == 8 and i % 2 == 0 else (1, "Speech-Oriented"))
        ),
        "two": lambda i, k: JUDGED.format(0, "Neither"),
        # Malformed on odd items, the "Good" wording on even ones.
        "three": lambda i, k: "no idea" if i % 2 else JUDGED.format("1", "Good"),
    }
    paths = [published(f"{n}.csv", lambda i, k: answer(i), judge=f) for n, f in judges.items()]
    words = ("task=jasco", f"task.root={root}", "model=predictions", f"model.path={paths[0]}")
    # The first file is read for its answers as well; the judge's column is no answer.
    verdicts = f"task.verdicts=[{','.join(map(str, paths))}]"
    bench(*words, verdicts, *QUIET, check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert values["best_mean[one]"] == pytest.approx(1.0)
    assert values["best_mean[two]"] == 0.0
    assert values["best_mean[three]"] == pytest.approx(0.5)
    assert values["best_mean"] == pytest.approx(0.5)
    assert values["speech_dependence[one]"] == pytest.approx(600 / 640)
    assert values["both_dependence[three]"] == 1.0
    assert values["both_dependence[two]"] is None
    assert values["both_dependence"] == pytest.approx((40 / 640 + 1) / 2)
    assert values["malformed_rate"] == pytest.approx(0.5 / 3)
    assert values["neither_rate"] == pytest.approx(1 / 3)
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["dataset"]["verdicts"] == {"one": 640, "two": 640, "three": 640}
    best = [r["mean_score"] for r in analysis["by_instruction"]]
    assert best[7] == pytest.approx((1.0 + 0 + 0.5) / 3)
    assert best[0] == pytest.approx((0 + 0 + 0.5) / 3)


def test_a_verdict_on_another_answer_is_refused(jasco, published):
    path = published("j.csv", lambda i, k: "They swim", judge=lambda i, k: JUDGED.format(1, "Both"))
    task = jasco(verdicts=[str(path)])
    sample = next(iter(task.samples()))
    given = [Response("k", "1", "They  swim ", variant="instruction=2")]
    assert task.score(sample, given)[0].values["rating[j]"] == 1.0
    given = [Response("k", "1", "They sail", variant="instruction=2")]
    with pytest.raises(DataError, match="rated another answer"):
        task.score(sample, given)


def test_what_was_not_judged_is_not_a_zero(jasco, published):
    path = published(
        "j.csv", lambda i, k: "x", judge=lambda i, k: "" if i == 1 else JUDGED.format(2, "Both")
    )
    task = jasco(verdicts=[str(path)])
    first, second = list(task.samples())[:2]
    unjudged = task.score(first, [Response("k", "1", "x", variant="instruction=1")])[0].values
    assert unjudged["malformed[j]"] != unjudged["malformed[j]"]
    (score,) = task.score(first, [Response("k", "1", "x", variant="instruction=1")])
    assert score.stage == "unjudged", "no judge rated this answer, though one rated others"
    judged = task.score(second, [Response("k", "2", "x", variant="instruction=1")])[0].values
    assert judged["malformed[j]"] == 0.0
    assert task.report() == {"verdicts": {"j": 632}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"audio_id,Audio\n1,x\n", "no column 'Speech'"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "no column 'audio_id'"),
    ],
)
def test_a_bad_table_is_refused(jasco, tmp_path, content, message):
    folder = tmp_path / "dataset" / "v0"
    folder.mkdir(parents=True)
    (folder / "v0.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(jasco(root=str(tmp_path)).samples())


def test_an_empty_cell_or_a_torn_row_is_named(jasco, root, tmp_path):
    shutil.copytree(root / "dataset", tmp_path / "dataset", ignore=shutil.ignore_patterns("*.wav"))
    table = tmp_path / "dataset" / "v0" / "v0.csv"
    head = table.read_text(encoding="utf-8").splitlines()[0]
    table.write_text(f"{head}\n1,a,b,c,d,e,\n")
    (empty,) = jasco(root=str(tmp_path)).samples()
    assert "row 2: 'Correct Answer Keyword' is empty" in empty.fault
    table.write_text(f"{head}\n1,a,b\n")
    (torn,) = jasco(root=str(tmp_path)).samples()
    assert "row 2: not as many cells" in torn.fault


def test_settings_and_files_that_cannot_be(jasco, published, tmp_path, capsys):
    with pytest.raises(ConfigError, match="different texts"):
        jasco(instructions=["a", "a"])
    assert "task.root" in jasco(root=str(tmp_path)).missing(audio=True)[0]
    with pytest.raises(DataError, match="no column with a judge"):
        list(jasco(verdicts=[str(published("e.csv", lambda i, k: "x"))]).samples())
    assert main([str(tmp_path), str(tmp_path / "o.csv")]) == 2
    assert "task=jasco" in capsys.readouterr().err


def scripted(body):
    """A judge that answers by (item, instruction) in ways that have to be read with care."""
    text = body["messages"][-1]["content"]
    asked = re.search(r"item (\d+) ask (\d+)", text if isinstance(text, str) else text[-1]["text"])
    said = "I guess it is Speech-Oriented."  # the second question's answer
    if asked:
        i, k = map(int, asked.groups())
        said = {
            1: f"Rating: {i % 3}\nExplanation2: leans to what is said",
            2: "no idea",
            3: "The reply has no rating.\nOrientation: Both",
        }.get(k, JUDGED.format(i % 3, "Both"))
    choice = {"index": 0, "message": {"role": "assistant", "content": said}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return {"choices": [choice | {"finish_reason": "stop"}], "usage": usage}


def test_verdicts_of_a_judged_run_go_out_and_give_the_same_numbers(
    bench, run_folders, root, published, tmp_path
):
    path = published("answers.csv", lambda i, k: f"item {i} ask {k}")
    words = ("task=jasco", f"task.root={root}", "model=predictions", *QUIET)
    bench(*words, f"model.path={path}", check=0)
    (folder,) = run_folders().values()
    with running(Server(reply=scripted)) as url:
        panel = (f"judge.panel.judge.endpoint.base_url={url}", "judge.panel.judge.served_name=m")
        bench(*words, f"model.path={path}", "stage=judge", "judge=jasco", *panel, check=0)
    place = folder / "judge" / "jasco"
    judged = json.loads((place / "metrics.json").read_text())["metrics"]
    # Instructions 4 to 8 are both-oriented: an item's best is its number modulo 3.
    assert judged["best_mean"] == pytest.approx(sum(i % 3 for i in range(1, 81)) / 80)
    assert judged["mean_score"] == pytest.approx(judged["best_mean"] * 5 / 8)
    assert judged["both_dependence"] == pytest.approx(6 / 8)
    assert judged["speech_dependence"] == pytest.approx(2 / 8)
    assert judged["malformed_rate"] == pytest.approx(2 / 8)
    out = tmp_path / "judged.csv"
    assert main([str(folder), str(out)]) == 0
    with open(out, newline="") as file:
        assert next(csv.reader(file)) == [*EVALUATION, "llama3_extract"]
    before = set(run_folders().values()) | {folder}
    bench(*words, f"model.path={out}", f"task.verdicts=[{out}]", check=0)
    (other,) = set(run_folders().values()) - before
    again = json.loads((other / "metrics.json").read_text())["metrics"]
    known = set(again) & set(judged)
    assert {"best_mean", "mean_score", "neither_rate", "speech_dependence"} <= known
    assert {name: again[name] for name in known} == {name: judged[name] for name in known}
    # The table is a form of verdicts itself, and says of this run what its judge said.
    (rating, orientation) = check(read(place), read(out))["comparisons"]
    assert (rating["n"], rating["accuracy"], rating["kappa"]) == (480, 1.0, 1.0)
    assert (orientation["n"], orientation["accuracy"]) == (640, 1.0)


@pytest.mark.parametrize(
    ("text", "rating", "orientation", "cell"),
    [
        ("Rating: 2\nOrientation: Good", 2, 2, "Rating: 2\nOrientation: Good"),
        ("Rating: 2\n\nSpeech.", 2, 1, "Rating: 2\n\nSpeech.\nOrientation: Speech-Oriented"),
        (  # whatever made the run's rubric read nothing in it
            "Rating: 2\nOrientation: Both",
            None,
            None,
            "Rating: 2\nOrientation: Both\nRating: unknown\nOrientation: unknown",
        ),
        ("", None, None, "\nRating: unknown"),  # an empty reply is malformed, not absent
        (None, None, None, ""),
    ],
)
def test_a_cell_reads_as_the_verdict_was_read(tmp_path, text, rating, orientation, cell):
    folder = tmp_path / "judge" / "jasco"
    folder.mkdir(parents=True)
    answer = {"id": "1", "variant": "instruction=1", "text": "w"}
    said = {"rating[j]": rating, "orientation[j]": orientation, "verdict[j]": text}
    (folder / "decisions.jsonl").write_text(json.dumps(answer | said) + "\n")
    rows = judged_rows(tmp_path, EVALUATION)
    assert rows.cells(answer) == {"llama3_extract": cell}
    if text is not None:
        found = verdict(cell)
        code = None if found.orientation is None else ORIENTATIONS.index(found.orientation)
        assert (found.rating, code) == (rating, orientation)
    with pytest.raises(DataError, match="asked about another answer"):
        rows.cells(answer | {"text": "v"})


def test_what_has_no_place_in_the_published_table_is_refused(tmp_path):
    folder = tmp_path / "judge" / "jasco"
    folder.mkdir(parents=True)
    row = {"id": "1", "variant": "", "text": "w", "rating[j]": 1.5, "orientation[j]": 2}
    (folder / "decisions.jsonl").write_text(json.dumps(row | {"verdict[j]": "x"}) + "\n")
    with pytest.raises(DataError, match=r"j gave 1\.5, a mean of several calls"):
        judged_rows(tmp_path, EVALUATION).cells(row)
    (folder / "decisions.jsonl").write_text(json.dumps(row | {"verdict[prompt]": "x"}) + "\n")
    with pytest.raises(DataError, match="a judge is called 'prompt'"):
        judged_rows(tmp_path, EVALUATION)
