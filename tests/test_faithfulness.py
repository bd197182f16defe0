"""`experiment=faithfulness` on real recordings with a tiny audio model, as a user runs it."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest

from tests import tiny
from tests.conftest import ROOT, environment

SECTIONS = (
    *("protocol=qwen_reasoning", "protocol=qwen_direct"),
    *("intervention=conditioned", "intervention=adversarial_audio intervention.answer=wrong"),
    *("intervention=injected_reasoning intervention.answer=right", "intervention.ratio=0.9"),
    *("intervention.snr_db=-20", "intervention=swap"),
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The study on six items, every cell."""
    checkpoint = tiny.build("qwen2_audio", tmp_path_factory.mktemp("tiny"))
    if not shutil.which("espeak-ng"):
        pytest.skip("its spoken answers need espeak-ng: apt install espeak-ng")
    return lambda data: [
        *("experiment=faithfulness", f"task.root={data / 'sakura'}", "limit=6"),
        *("model=qwen2_audio", f"model.path={checkpoint}", "model.dtype=float32"),
        *("study.reasoning=qwen_reasoning", "study.direct=qwen_direct"),
        *("generation.max_new_tokens=12", "model.overlong=truncate"),
        *("tracking=none", "figures=false"),
    ]


def folders(record):
    return [cell["folder"] for cell in json.loads(record.read_text())["cells"]]


def finished(outputs):
    states = (json.loads(file.read_text()) for file in outputs.glob("*/*/*/*/run.json"))
    return sum(state["status"] == "finished" for state in states)


def test_the_whole_study_ends_in_its_tables_and_resumes(bench, words, shared_data, tmp_path):
    asked = words(shared_data)
    command = [sys.executable, "-m", "lalm_bench", *asked, f"paths.outputs={bench.outputs}"]
    command.append(f"paths.multirun={tmp_path / 'multi'}")
    killed = subprocess.Popen(command, cwd=tmp_path, env=environment(ROOT), stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while finished(bench.outputs) < 5:
        assert killed.poll() is None, "it ended before the kill"
        assert time.monotonic() < deadline, "it never got to five cells"
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    done = bench(*asked, check=0, timeout=400)
    assert done.stdout.count("already finished, nothing asked") >= 5
    (record,) = tmp_path.glob("multi/studies/faithfulness/sakura/qwen2_audio/study.json")
    cells = folders(record)
    assert len(cells) == len(set(cells)) == 20

    tables = (record.parent / "tables.md").read_text()
    for section in SECTIONS:
        assert re.search(rf"^## .*{re.escape(section)}$", tables, re.M), section
    rows = dict(re.findall(r"^## (.*?)$.*?^\| all \| (.*?) \|$", tables, re.M | re.S))
    assert len(rows) == 20
    for overrides, row in rows.items():
        items, _, accuracy, missed, change, _, _ = row.split(" | ")
        given = "conditioned" in overrides or "injected" in overrides
        # Whoever is given reasoning, or asked for none, cannot miss it; others may.
        assert (missed == "-") == (given or "direct" in overrides), overrides
        assert (change == "-") == ("intervention" not in overrides), overrides
        assert 0 < int(items) <= 6
        assert 0 <= float(accuracy.removesuffix(" %")) <= 100

    paired = json.loads((record.parent / "paired.json").read_text())
    assert sum(len(family["runs"]) for family in paired["families"]) == 18
    again = bench(*asked, check=0, timeout=400)
    assert again.stdout.count("already finished, nothing asked") == 20
    assert (record.parent / "tables.md").read_text() == tables
