"""A small JASCO run to be judged, and judges that answer by rule."""

from __future__ import annotations

import csv
import json

import pytest
import soundfile
from hydra import compose, initialize_config_dir

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench.judges.stage import judge
from lalm_bench.run import run
from tests.conftest import ROOT
from tests.models.conftest import checkpoint  # noqa: F401 - a fixture
from tests.openai_server import Server

QUIET = ("tracking=none", "figures=false", "progress=false")
COLUMNS = (
    *("audio_id", "Audio", "Speech", "Audio-Only Answer", "Speech-Only Answer"),
    *("Correct Answer", "Correct Answer Keyword"),
)
STAGES = {"run": run, "judge": judge}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def completion(text, finish="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"choices": [choice | {"finish_reason": finish}], "usage": usage}


def prompt_of(asked):
    """All that a judge reads, and what stands as the user's last turn."""
    return asked["messages"][-1]["content"]


def prediction_of(asked):
    """The answer that JASCO's prompt shows the judge."""
    return prompt_of(asked).partition("[Model Prediction]\n")[2].partition("\n\n[Task1]")[0]


def scripted(says, **server):
    """A server whose judges reply with `says(request)`, a text."""
    return Server(reply=lambda asked: completion(says(asked)), **server)


def verdict(rating, orientation):
    return f"Explanation1: a.\nRating: {rating}\nExplanation2: b.\nOrientation: {orientation}"


ORIENTATIONS = ("Audio-Oriented", "Speech-Oriented", "Both", "Neither")
NAMES = ("llama", "qwen", "mistral")


def opinion(asked):
    """By item and instruction, so that whose verdict a row has can be told."""
    _, i, k = prediction_of(asked).split()
    return verdict((int(i) + int(k)) % 3, ORIENTATIONS[int(k) % 4])


def expected(row):
    i, k = int(row["id"]), int(row["variant"].removeprefix("instruction="))
    return float((i + k) % 3), float((0, 1, 2, 3)[k % 4])


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def judged(tmp_path):
    return [path.parent for path in (tmp_path / "outputs").glob("*/*/*/*/judge/*/run.json")]


@pytest.fixture
def stage(tmp_path):
    """`stage("judge", "task=...", ...)` in this process; the folder that it gives."""

    def call(name, *words):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("config", [*QUIET, f"paths.outputs={tmp_path / 'outputs'}", *words])
        return tmp_path / STAGES[name](config)

    return call


@pytest.fixture
def answered(tmp_path, wav):
    """`answered(answer, items=3)`: overrides of a JASCO run with `answer(item, instruction)`."""

    def make(answer=lambda i, k: f"answer {i} {k}", items=3, file="answers.csv"):
        folder = tmp_path / "jasco" / "dataset" / "v0"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "v0.csv", "w", newline="", encoding="utf-8") as table:
            writer = csv.writer(table)
            writer.writerow(COLUMNS)
            for i in range(1, items + 1):
                writer.writerow(
                    [i, f"sound {i}", f"speech {i}", "wait", "talk", f"do {i}", f"k{i}"]
                )
        for i in range(1, items + 1):
            if not (clip := folder / f"{i}.wav").exists():
                soundfile.write(clip, [0.0] * 1600, 16000)
        with open(tmp_path / file, "w", newline="", encoding="utf-8") as table:
            writer = csv.writer(table)
            writer.writerow(["id", "variant", "output"])
            for i in range(1, items + 1):
                for k in range(1, 9):
                    writer.writerow([i, f"instruction={k}", answer(i, k)])
        return (
            *("task=jasco", f"task.root={tmp_path / 'jasco'}", "model=predictions"),
            *("model.rate=null", f"model.path={tmp_path / file}"),
        )

    return make


@pytest.fixture
def one():
    """`one(url)`: overrides of a judge called `judge`, served there."""

    def make(url, name="judge", **endpoint):
        settings = {"max_retries": 2, "backoff_s": 0.01, **endpoint}
        return (
            *(f"judge.panel.{name}.endpoint.base_url={url}",),
            *(f"judge.panel.{name}.endpoint.{k}={v}" for k, v in settings.items()),
            *((f"judge.panel.{name}.served_name={name}",) if name == "judge" else ()),
        )

    return make


@pytest.fixture
def three(one):
    """`three(url)`: JASCO's panel of three, all served there."""

    def make(url, **endpoint):
        names = ("llama", "qwen", "mistral")
        return ("judge/panel=three", *(w for n in names for w in one(url, n, **endpoint)))

    return make
