"""JASCO on its real recordings, from an audio model's answers to the two published tables.

The audio model and the judges that think are tiny checkpoints with random weights, so what they
say is nonsense; the scores are made of what a scripted judge says.
"""

import csv
import json
import random
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from lalm_bench.parsing.jasco import parser
from lalm_bench.tasks.jasco_files import EVALUATION, main
from tests.conftest import environment
from tests.judges.conftest import prediction_of, prompt_of, rows, scripted, verdict
from tests.models.test_api_served import LACKING, wait_until_healthy
from tests.openai_server import running
from tests.tasks.test_jasco import evaluation_row
from tests.test_conf import experiment
from tests.tiny import build

ORIENTATIONS = ("Audio-Oriented", "Speech-Oriented", "Both", "Neither")
# The wording of the published script, and malformed verdicts, come from every judge.
NAMES = ("llama", "qwen", "mistral")


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


@pytest.fixture(scope="module")
def instruct(tmp_path_factory):
    """A tiny causal language model with a chat template."""
    return build("tiny_llama", tmp_path_factory.mktemp("instruct"))


@pytest.fixture
def heard(stage, shared_data, checkpoint):
    """A tiny Qwen2-Audio's answers to two real clips: overrides, and the run's folder."""
    words = (
        *("task=jasco", f"task.root={shared_data / 'jasco'}", "limit=2", "model=qwen2_audio"),
        *(f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32", "runtime.device=cpu"),
        "generation.max_new_tokens=6",
    )
    return words, stage("run", *words)


def check_nonsense(place, answers):
    """Whatever a judge of random weights says, each row has its own reading of its own reply."""
    decided = rows(place / "decisions.jsonl")
    assert len(decided) == len({(r["id"], r["variant"]) for r in decided}) == answers
    for row in decided:
        replies = row["verdict[judge]"]
        assert replies
        found = parser().parse(replies, {})
        assert (row["rating[judge]"], row["orientation[judge]"]) == (
            found["rating"],
            found["orientation"],
        )
        assert row["malformed[judge]"] == float(None in found.values())
    values = metrics(place)
    assert values["judge_missing"] == 0
    assert values["malformed_rate"] == np.mean([r["malformed[judge]"] for r in decided])
    assert values["judge_output_tokens"] > 0
    return decided


@pytest.mark.skipif(bool(LACKING), reason=f"transformers[serving] lacks {', '.join(LACKING)}")
def test_a_real_judge_process_judges_what_an_audio_model_heard(
    heard, stage, instruct, tmp_path, one
):
    words, folder = heard
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, start = tmp_path / "log.txt", "from transformers.cli.transformers import main; main()"
    command = (sys.executable, "-c", start, "serve", str(instruct), "--host", "127.0.0.1")
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment() | {"OMP_NUM_THREADS": "1"},
        )
    try:
        wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
        served = (
            *one(f"http://127.0.0.1:{port}/v1", max_in_flight=2),
            f"judge.panel.judge.served_name={instruct}",
        )
        place = stage("judge", *words, "judge=jasco", "judge.max_new_tokens=8", *served)
    finally:
        process.terminate()
        process.wait(30)
    assert place == folder / "judge" / "jasco"
    check_nonsense(place, 16)
    # The same judge in this process: the same prompts, so the same replies, and nothing is asked
    # of the server, which is gone.
    local = ("judge/panel=local", f"judge.panel.judge.path={instruct}")
    before = [r["verdict[judge]"] for r in rows(place / "decisions.jsonl")]
    again = stage(
        *("judge", *words, "judge=jasco", "judge.max_new_tokens=8", *local),
        "judge.panel.judge.dtype=float32",
    )
    after = [r["verdict[judge]"].strip() for r in check_nonsense(again, 16)]
    assert after == [text.strip() for text in before]


@pytest.fixture
def published(shared_data, tmp_path):
    """The published evaluation table with an answer for each of the 640 rows."""
    instructions = list(experiment("task=jasco").task.instructions)
    folder = shared_data / "jasco" / "dataset" / "v0"
    path = tmp_path / "evaluation.csv"
    with (
        open(folder / "v0.csv", newline="", encoding="utf-8") as source,
        open(path, "w", newline="", encoding="utf-8") as out,
    ):
        writer = csv.DictWriter(out, EVALUATION)
        writer.writeheader()
        for row in csv.DictReader(source):
            for k, prompt in enumerate(instructions, 1):
                answer = f"answer {row['audio_id']} {k}"
                writer.writerow(evaluation_row(row, prompt, answer))
    return path


def opinion_of(judge, item, instruction):
    """(rating or None, orientation code or None, how it is written) of one verdict."""
    draw = random.Random(f"{judge} {item} {instruction}")
    rating, code = draw.randrange(3), draw.randrange(4)
    if judge != "llama" and draw.random() < 0.6:  # so that judges agree in part
        other = random.Random(f"llama {item} {instruction}")
        rating, code = other.randrange(3), other.randrange(4)
    form = draw.choice(["plain", "bold", "good", "next line", "reask", "no rating", "nothing"])
    said = ORIENTATIONS[code]
    if form == "good" and said == "Both":
        said = "Good"
    text = {
        "plain": verdict(rating, said),
        "good": verdict(rating, said),
        "bold": f"**Rating:** {rating}\n\n**Orientation:** **{said}**",
        "next line": f"Rating:\n{rating}\nOrientation:\n{said}",
        "reask": f"Explanation1: x\nRating: {rating}\nExplanation2: ask {item} {instruction} again",
        "no rating": f"Rating: 5\nOrientation: {said}",
        "nothing": "I cannot.",
    }[form]
    if form == "nothing":
        return None, None, text
    return (None if form == "no rating" else float(rating)), float(code), text


def krippendorff(data, level):
    """1 - observed / expected disagreement, pair by pair of ratings; (judges, answers) with NaN."""
    units = [column[~np.isnan(column)] for column in data.T]
    units = [u for u in units if len(u) > 1]
    pooled = np.concatenate(units)
    count = {v: (pooled == v).sum() for v in np.unique(pooled)}

    def apart(a, b):
        if level == "nominal":
            return float(a != b)
        low, high = min(a, b), max(a, b)
        between = sum(n for v, n in count.items() if low <= v <= high)
        return (between - (count[a] + count[b]) / 2) ** 2

    observed = sum(apart(a, b) / (len(u) - 1) for u in units for a in u for b in u)
    expected = sum(count[a] * count[b] * apart(a, b) for a in count for b in count)
    return 1 - observed * (len(pooled) - 1) / expected


def judge_of(asked):
    return next(n for n in NAMES if n in asked["model"].lower())


def scripted_opinion(asked):
    if "guess what final choice" in prompt_of(asked):
        named = re.search(r"ask (\d+) (\d+) again", prompt_of(asked))
        if named is None:
            return "I still cannot."
        item, instruction = named.groups()
        return ORIENTATIONS[int(opinion_of(judge_of(asked), item, instruction)[1])]
    _, item, instruction = prediction_of(asked).split()
    return opinion_of(judge_of(asked), item, instruction)[2]


def test_three_judges_give_both_tables_and_the_table_goes_out(
    stage, bench, three, published, shared_data, tmp_path, capsys
):
    run = (
        *("task=jasco", f"task.root={shared_data / 'jasco'}", "model=predictions"),
        *("model.rate=null", f"model.path={published}"),
    )
    folder = stage("run", *run)
    server = scripted(scripted_opinion)
    with running(server) as url:
        capsys.readouterr()
        place = stage("judge", *run, "judge=jasco", *three(url))
        shown = capsys.readouterr().out
    assert server.stats()["answered_twice"] == 0

    # By independent code, from what the judges were scripted to say.
    said = {
        name: np.array(
            [[opinion_of(name, i, k)[:2] for k in range(1, 9)] for i in range(1, 81)], dtype=float
        )
        for name in NAMES
    }
    best, shares = [], []
    for table in said.values():
        rating, code = table[..., 0], table[..., 1]
        score = np.where(code == 2, np.nan_to_num(rating), 0.0)
        best.append(score.max(axis=1).mean())
        counts = [(code == c).sum() for c in (0, 2, 1)]
        shares.append([count / sum(counts) for count in counts])
    values = metrics(place)
    assert values["best_mean"] == pytest.approx(np.mean(best))
    for name, mean in zip(NAMES, best, strict=True):
        assert values[f"best_mean[{name}]"] == pytest.approx(mean)
    found = [values[f"{m}_dependence"] for m in ("audio", "both", "speech")]
    assert found == pytest.approx(np.mean(shares, axis=0).tolist())
    assert sum(found) == pytest.approx(1)
    for field, level in (("rating", "ordinal"), ("orientation", "nominal")):
        data = [said[n][..., 0 if field == "rating" else 1].ravel() for n in NAMES]
        alpha = krippendorff(np.array(data), level)
        assert values[f"judges_alpha_{field}"] == pytest.approx(alpha)
        assert 0.2 < alpha < 0.9
    lacking = [np.isnan(table).any(axis=-1).mean() for table in said.values()]
    assert values["malformed_rate"] == pytest.approx(np.mean(lacking))
    assert 0.05 < np.mean(lacking) < 0.5
    assert values["judge_missing"] == 0
    assert (
        values["best_mean_bootstrap_low"] < values["best_mean"] < values["best_mean_bootstrap_high"]
    )
    for name in ("best_mean", "audio_dependence", "both_dependence", "speech_dependence"):
        assert name in shown
        assert name in (place / "results_table.md").read_text()

    # Out as the published table with a column a judge, and in again: the same numbers.
    out = tmp_path / "judged.csv"
    assert main([str(folder), str(out)]) == 0
    with open(out, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 640
    assert [*table[0]][: len(EVALUATION)] == [*EVALUATION]
    assert [r["allm_output"] for r in table] == [r["text"] for r in rows(place / "decisions.jsonl")]
    back = metrics(stage("run", *run, f"task.verdicts=[{out}]"))
    for name in ("best_mean", "audio_dependence", "both_dependence", "speech_dependence"):
        assert back[name] == pytest.approx(values[name])
    assert back["malformed_rate"] == pytest.approx(values["malformed_rate"])
