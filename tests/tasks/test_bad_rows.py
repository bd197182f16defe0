"""One bad row among good ones: named, counted as an error, and the others are asked and scored."""

import csv
import json

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli
from lalm_bench.build import build
from lalm_bench.data.check import check
from lalm_bench.errors import DataError
from lalm_bench.preflight import Plan, select
from lalm_bench.run import run
from lalm_bench.tasks.jasco_files import COLUMNS as JASCO_COLUMNS
from lalm_bench.types import Context
from tests.tasks import audiomarathon_layouts as layouts
from tests.tasks import strong_tables, test_clotho, test_mmau, test_mmau_pro, test_sakura
from tests.test_run import record

QUIET = ("tracking=none", "figures=false", "progress=false")


def clips(folder, *names):
    for name in names:
        layouts.clip(folder / name, 1.0, rate=16000)


def mcq(folder):
    clips(folder, "0.wav")
    bad = json.loads(record("strange", "0.wav")) | {"answer_label": "Q"}
    lines = [record("one", "0.wav"), json.dumps(bad), record("two", "0.wav"), '{"id": "to']
    (folder / "q.jsonl").write_text("\n".join(lines))
    words = [f"task.dataset={folder / 'q.jsonl'}", f"task.audio_root={folder}"]
    return words, {"strange": "answer_label 'Q' is none of A, C", "line 4": "not JSON"}


def mmau(folder):
    rows = [{**test_mmau.MMAU, "id": f"u{i}", "audio_id": "0.wav"} for i in range(5)]
    rows[1]["answer"] = "A wolf"
    rows[2]["choices"] = ["Dog", float("nan")]
    rows[3] |= {"id": None}
    clips(folder, "0.wav")
    (folder / "q.json").write_text(json.dumps([*rows, 7]))
    words = [f"task.dataset={folder / 'q.json'}", f"task.audio_root={folder}"]
    faults = {"u1": "none of its choices", "u2": "list of texts", "item 4": "'id' must be a text"}
    return words, faults | {"item 6": "not a JSON object"}


def mmar(folder):
    rows = [{**test_mmau.MMAR, "id": f"u{i}", "audio_path": "0.wav"} for i in range(3)]
    del rows[1]["audio_path"]
    clips(folder, "0.wav")
    lines = [*map(json.dumps, rows), '{"id": "to']
    (folder / "q.jsonl").write_text("\n".join(lines))
    words = [f"task.dataset={folder / 'q.jsonl'}", f"task.audio_root={folder}"]
    return words, {"u1": "'audio_path' must be a text", "item 4": "not a JSON object"}


def mmau_pro(folder):
    row, instruction = test_mmau_pro.row, test_mmau_pro.instruction
    rows = [
        row("c1"),
        row("b1", answer="a wolf"),
        row("dropped", choices=["one"]),
        instruction("b2", "Sing"),
        instruction("b3", "Number Bullets"),
        row("b4", question=" "),
    ]
    clips(folder, "data/c1.wav")
    path = test_mmau_pro.write(folder / "q.jsonl", rows)
    words = [f"task.dataset={path}", f"task.audio_root={folder}"]
    faults = {"b1": "none of its choices", "b2": "unknown instruction 'Sing'"}
    return words, faults | {"b3": "Number Bullets without N", "b4": "'question' must be a text"}


def sakura(folder):
    row = test_sakura.ROW
    rows = [
        row,
        ("c.wav", "dog", "Which? (a) cat (b) dog", "(c) owl", *row[4:]),
        ("", *row[1:]),
        ("d.wav", "dog", "torn"),
    ]
    test_sakura.write(folder, rows)
    clips(folder / "data" / "Animal" / "audio", "b.wav", "c.wav")
    faults = {"sakura_animal_c_single": "'(c) owl' is none of its options"}
    for hop in ("single", "multi"):
        faults[f"sakura_animal_line 4_{hop}"] = "no file name"
        faults[f"sakura_animal_d_{hop}"] = "not as many cells"
    return [f"task.root={folder}", "task.track=animal"], faults


def jasco(folder):
    rows = [[str(n), *(f"{c} {n}" for c in JASCO_COLUMNS[1:])] for n in range(1, 5)]
    rows[1][5] = " "
    rows[2] = rows[2][:3]
    rows[3][0] = ""
    table = folder / "dataset" / "v0" / "v0.csv"
    table.parent.mkdir(parents=True)
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([JASCO_COLUMNS, *rows])
    clips(table.parent, "1.wav")
    faults = {"2": "'Correct Answer' is empty", "3": "not as many cells"}
    return [f"task.root={folder}"], faults | {"line 5": "'audio_id' is empty"}


def clotho(folder):
    good = test_clotho.ROWS
    torn, empty = ("torn.wav", "one", "two"), ("empty.wav", "", "", "", "", "")
    rows = [good[0], torn, good[1], empty, ("", *good[2][1:])]
    test_clotho.write(folder / "clotho_captions_evaluation.csv", rows)
    clips(folder / "evaluation", good[0][0], good[1][0])
    faults = {"torn.wav": "not as many cells", "empty.wav": "no caption to compare with"}
    return [f"task.root={folder}"], faults | {"line 6": "no file name"}


def strong(folder, rows=()):
    good = rows or strong_tables.recordings(20)
    strong_tables.tacos(folder, [*good, ("whole.wav", "A bell.", "1", "2")])
    bad = [
        (good[0][0], "A dog.", "3", "2"),
        ("whole.wav", "A cat.", "nan", "2"),
        ("", "A cow.", "0", "2"),
        ("", "", "", ""),
    ]
    with open(folder / "annotations_strong.csv", "a", newline="") as file:
        csv.writer(file).writerows(bad)
    line = len(good) + 3
    faults = {f"{good[0][0]} line {line}": "'3' to '2' is no span"}
    faults[f"whole.wav line {line + 1}"] = "'nan' to '2' is no span"
    return [f"task.source.root={folder}"], faults | {f"line {line + 2}": "no file name"}


def gtzan(folder):
    layouts.gtzan(folder)
    path = folder / "music_genre_classification_meta.json"
    rows = json.loads(path.read_text())
    rows[1]["answer_gt"] = "Z"
    rows[2] |= {"uniq_id": None, "path": float("nan")}
    rows[0]["genre_label"] = ["blues", "rock"]
    path.write_text(json.dumps(rows))
    return [f"task.root={folder}"], {"gtzan_1": "'Z' is none of its", "item 3": "'path' must be"}


def vox_gender(folder):
    layouts.vox_gender(folder)
    path = folder / "gender_id_task_meta.json"
    rows = json.loads(path.read_text())
    del rows[0]["choice_b"]
    path.write_text(json.dumps(rows))
    return [f"task.root={folder}"], {str(rows[0]["uniq_id"]): "'choice_b' is missing"}


def librispeech_long(folder):
    layouts.librispeech_long(folder)
    (folder / "test-clean/61/70968/61-70968-0000.txt").write_text(" \n")
    return [f"task.root={folder}"], {"61-70968-0000": "61-70968-0000 is empty"}


LOADERS = {
    **{f.__name__: f for f in (mcq, mmau, mmar, mmau_pro, sakura, jasco, clotho, gtzan)},
    **{f.__name__: f for f in (vox_gender, librispeech_long)},
    **dict.fromkeys(("mcq_order", "mcq_presence", "grounding"), strong),
}
# A guesser has nothing to choose from; what these answered elsewhere is read instead.
FREE = {"clotho", "grounding", "jasco", "librispeech_long"}


def config(words):
    with initialize_config_dir(cli.home("conf"), version_base="1.3"):
        return compose("config", [*words, *QUIET])


def answers(folder, words, bad):
    """Some answer to every request of the good items."""
    task = build(config([*words, "model=random"])).task
    path = folder / "answers.jsonl"
    lines = [
        json.dumps({"id": s.id, "variant": r.variant, "output": "a dog, 1 to 2 s"})
        for s in task.samples()
        if s.id not in bad
        for r in task.requests(s, build(config([*words, "model=random"])).generation)
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", LOADERS)
def test_a_bad_row_is_an_error_and_the_others_are_scored(name, tmp_path, bench, run_folders):
    folder = tmp_path / "data"
    folder.mkdir()
    words, bad = LOADERS[name](folder)
    words = [f"task={name}", *words]
    model = ["model=random"]
    if name in FREE:
        model = ["model=predictions", f"model.path={answers(tmp_path, words, bad)}"]
    done = bench(*words, *model, *QUIET, check=1)
    assert next(iter(bad)) in done.stderr
    (made,) = run_folders().values()
    analysis = json.loads((made / "analysis.json").read_text())
    assert sorted(analysis["unanswered"]) == sorted(bad)
    for identity, fault in bad.items():
        assert fault in analysis["unasked"][identity]
        assert str(folder) in analysis["unasked"][identity], "where it stands is said"
    rows = [json.loads(line) for line in (made / "decisions.jsonl").read_text().splitlines()]
    stored = json.loads((made / "metrics.json").read_text())["metrics"]
    assert stored["n_errors"] == len(bad)
    assert rows
    assert not bad.keys() & {row["id"] for row in rows}
    if "accuracy" in stored and name != "mmau_pro":
        right = [row["correct"] for row in rows]
        assert stored["n"] == len(right)
        assert stored["accuracy"] == pytest.approx(sum(right) / len(right))
    assert json.loads((made / "run.json").read_text())["status"] == "incomplete"

    with pytest.raises(DataError) as refused:
        run(config([*words, *model, "on_error=stop", f"paths.outputs={tmp_path / 'none'}"]))
    assert next(iter(bad.values())) in str(refused.value)
    assert not (tmp_path / "none").exists(), "refused before anything was asked or written"


@pytest.mark.parametrize("name", LOADERS)
def test_check_names_every_bad_row(name, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    words, bad = LOADERS[name](folder)
    task = build(config([f"task={name}", *words])).task
    _, findings = check(task, {}, audio=False)
    (rows,) = [f for f in findings if f.what == "bad row"]
    assert rows.count == len(bad)
    for fault in bad.values():
        assert any(fault in place for place in rows.places)


def test_a_file_of_bad_rows_only_is_refused_with_the_first(tmp_path, bench):
    (tmp_path / "q.jsonl").write_text("label,text\n1,2\n")
    words = (f"task.dataset={tmp_path / 'q.jsonl'}", f"task.audio_root={tmp_path}")
    done = bench("task=mcq", *words, "model=random", *QUIET, check=2)
    assert "no item can be asked" in done.stderr
    assert "line 1: not JSON" in done.stderr
    assert not bench.outputs.exists()


def test_a_duplicate_id_is_refused_though_one_of_the_two_is_bad(tmp_path, bench):
    clips(tmp_path, "0.wav")
    bad = json.loads(record("one", "0.wav")) | {"answer_label": "Q"}
    (tmp_path / "q.jsonl").write_text("\n".join([record("one", "0.wav"), json.dumps(bad)]))
    words = (f"task.dataset={tmp_path / 'q.jsonl'}", f"task.audio_root={tmp_path}")
    done = bench("task=mcq", *words, "model=random", *QUIET, check=2)
    assert "id 'one' stands in line 1 already" in done.stderr


def test_interventions_borrow_no_clip_of_a_bad_row(tmp_path):
    words, bad = mcq(tmp_path)
    experiment = build(config(["task=mcq", *words, "model=random"]))
    samples = select(experiment.task.samples(), None, 7)
    given = (experiment.task, experiment.intervention, experiment.generation, None)
    plan = Plan(samples, *given, Context(7, samples), hears=False)
    assert [s.id for s in plan.samples if s.id not in bad] == ["one", "two"]
    assert [s.id for s in plan.context.samples] == ["one", "two"]


def test_published_rules_still_drop_bad_rows_themselves(tmp_path):
    words, _ = strong(tmp_path / "t")
    of = {
        compat: build(config(["task=mcq_order", *words, f"task.compat={compat}"])).task
        for compat in ("true", "false")
    }
    published = of["true"].samples()
    assert all(s.fault is None for s in published)
    assert of["true"].report()["invalid_time"] == 2
    spoilt = strong_tables.recordings(20)[0][0]
    assert any(s.cluster == spoilt for s in published)
    assert not any(s.cluster == spoilt for s in of["false"].samples() if s.fault is None)
