import json
import shutil

import pytest

from lalm_bench.analysis import texts
from lalm_bench.analysis.__main__ import main
from lalm_bench.metrics.captions.cider import CiderD
from lalm_bench.metrics.captions.tokens import tokenise
from tests.analysis.conftest import number, table
from tests.compare.conftest import row
from tests.metrics.captions.test_networks import sentence_encoder
from tests.report.conftest import command
from tests.tasks.test_clotho import HEADER, ROWS, write

NEAR = ["a dog barks", "a dog howls", "a cat howls"]


def caption(i, label, references):
    return row(
        i, label, references, options={}, n_options=0, text=label or "...", cluster=f"clip{i}"
    )


def analysed(tmp_path, run, *words, code=0):
    folder = tmp_path / "found"
    assert main(["captions", str(run), "--out", str(folder), *map(str, words)]) == code
    return folder


def test_numbers_by_hand(made, tmp_path):
    run = made("none", [caption(0, "a dog barks", NEAR), caption(1, None, ["rain", "rain falls"])])
    folder = analysed(tmp_path, run)
    found = {r["measure"]: r for r in table(folder, "measures")}
    # References of the first clip share 2, 1 and 2 of 3 words; those of the second 1 of 1 and 2.
    people = [(2 / 3 + 1 / 3 + 2 / 3) / 3, 2 / 3]
    prediction = [(1 + 2 / 3 + 1 / 3) / 3, 0]
    assert number(found["words"], "people") == pytest.approx(sum(people) / 2)
    assert number(found["words"], "prediction") == pytest.approx(sum(prediction) / 2)
    gap = [p - q for p, q in zip(prediction, people, strict=True)]
    assert number(found["words"], "gap") == pytest.approx(sum(gap) / 2)
    assert number(found["words"], "reach") == 0.5
    items = table(folder, "items")
    assert [number(r, "words_people") for r in items] == pytest.approx(people)
    tokens = [[tokenise(r) for r in references] for references in (NEAR, ["rain", "rain falls"])]
    cider = CiderD(tokens)
    expected = cider.score(tokenise("a dog barks"), tokens[0])
    assert number(items[0], "cider_d") == pytest.approx(expected)
    left_out = [cider.score(t, tokens[0][:i] + tokens[0][i + 1 :]) for i, t in enumerate(tokens[0])]
    assert number(items[0], "cider_d_people") == pytest.approx(sum(left_out) / 3)


def test_outliers_are_what_people_would_not_say(made, tmp_path):
    """Where people disagree a prediction may; where they agree it is an outlier."""
    agreed = ["a dog barks in the rain"] * 3
    apart = ["wind", "a storm", "leaves rustle"]
    rows = [caption(i, "a dog barks in rain", agreed) for i in range(8)]
    rows += [caption(8, "a dog in rain", agreed), caption(9, "an engine", apart)]
    rows += [caption(10, "an engine", agreed), caption(11, "a dog", ["a dog"])]
    folder = analysed(tmp_path, made("none", rows), "--far", "3")
    (outlier,) = table(folder, "outliers")
    assert outlier["clip"] == "item10"
    assert (outlier["said"], outlier["people"]) == ("an engine", "1.000")
    facts = json.loads((folder / "captions.json").read_text())
    assert facts["outliers"] == ["item10"]
    assert facts["one_reference"] == 1
    # Of twelve gaps those of nine clips are equal or nearly so: the limit follows from them alone.
    assert facts["median_gap"] == pytest.approx(2 * 5 / 11 - 1)
    assert facts["spread"] == "mean absolute deviation"
    strange = {r["clip"] for r in table(folder, "outlier_references")}
    assert strange == {"item9"}
    page = (folder / "captions.md").read_text()
    assert "3 robust standard" in page
    assert "1 clips have one reference" in page


def test_without_outliers_the_table_says_so(made, tmp_path):
    run = made("none", [caption(i, "a dog barks", NEAR) for i in range(4)])
    folder = analysed(tmp_path, run)
    assert table(folder, "outliers") == []
    assert "No prediction is an outlier" in (folder / "captions.md").read_text()


def test_an_encoder_finds_outliers_where_it_is_given(made, tmp_path, capsys):
    sentence_encoder(tmp_path / "tiny-bert")
    run = made("none", [caption(i, "a dog barks", NEAR) for i in range(4)])
    encoder = ("--encoder", tmp_path / "tiny-bert")
    folder = analysed(tmp_path, run, *encoder)
    assert json.loads((folder / "captions.json").read_text())["by"] == "semantic[tiny-bert]"
    network = texts.measures(str(tmp_path / "tiny-bert"))["semantic[tiny-bert]"]
    expected = network(["a dog barks"] * 3, NEAR).mean()
    assert number(table(folder, "items")[0], "semantic[tiny-bert]") == pytest.approx(expected)
    analysed(tmp_path, run, *encoder, "--by", "meteor", code=2)
    assert "--by meteor must be one of edit, words, semantic[tiny-bert], cider_d" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(0, "a")], "no list of reference captions"),
        ([caption(0, "a dog", ["a dog"])], "no clip has two references"),
        ([], "decided no item"),
    ],
)
def test_a_run_without_references_is_refused(made, tmp_path, capsys, rows, said):
    folder = analysed(tmp_path, made("none", rows), code=2)
    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_a_real_run_on_clothos_layout(tmp_path, wav):
    root = tmp_path / "clotho"
    (root / "evaluation").mkdir(parents=True)
    write(root / "clotho_captions_evaluation.csv", ROWS, HEADER)
    for i, entry in enumerate(ROWS):
        shutil.copy(wav(f"made/{i}.wav", pitch=200.0 + 90 * i), root / "evaluation" / entry[0])
    said = [(entry[0], "", entry[2]) for entry in ROWS]
    write(tmp_path / "said.csv", said, ("id", "variant", "output"))
    model = ("model=predictions", f"model.path={tmp_path / 'said.csv'}")
    command(tmp_path, "task=clotho", f"task.root={root}", *model)
    (run,) = [p.parent for p in (tmp_path / "outputs").rglob("run.json")]
    assert main(["captions", run.name, "--outputs", str(tmp_path / "outputs")]) == 0
    folder = run / "analysis" / "captions"
    found = {r["measure"]: r for r in table(folder, "measures")}
    # The run's own score, with the weights of the whole split, which is all that was asked here.
    own = json.loads((run / "metrics.json").read_text())["metrics"]["cider_d"]
    assert number(found["cider_d"], "prediction") == pytest.approx(own)
    assert (folder / "captions.png").stat().st_size > 10_000


def test_a_real_listener_under_two_conditions(tmp_path, wav, checkpoint):
    """A tiny checkpoint writes noise that depends on the audio: captions change with it."""
    root = tmp_path / "clotho"
    (root / "evaluation").mkdir(parents=True)
    write(root / "clotho_captions_evaluation.csv", ROWS, HEADER)
    for i, entry in enumerate(ROWS):
        shutil.copy(wav(f"made/{i}.wav", pitch=200.0 + 90 * i), root / "evaluation" / entry[0])
    model = ("model=hf", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32")
    speed = ("runtime.device=cpu", "generation.max_new_tokens=8")
    for condition in ("none", "silence"):
        command(
            tmp_path,
            *("task=clotho", f"task.root={root}", f"intervention={condition}", *model, *speed),
        )
    runs = {
        json.loads(p.read_text())["config"]["intervention"]["name"]: p.parent
        for p in (tmp_path / "outputs").rglob("run.json")
    }
    texts_of = {
        name: [json.loads(line)["text"] for line in (run / "decisions.jsonl").open()]
        for name, run in runs.items()
    }
    folder = tmp_path / "alike"
    words = ("similarity", str(runs["none"]), str(runs["silence"]), "--out", str(folder))
    assert main(words) == 0
    (found,) = table(folder, "runs")
    pairs = [*zip(*texts_of.values(), strict=True)]
    assert number(found, "edit") == pytest.approx(sum(texts.edit(a, b) for a, b in pairs) / 4)
    assert number(found, "same text") == sum(a == b for a, b in pairs) / 4 < 1
    assert found["same answer"] == ""
    place = analysed(tmp_path, runs["none"])
    by_measure = {r["measure"]: r for r in table(place, "measures")}
    assert number(by_measure["words"], "gap") < 0  # noise is no caption
