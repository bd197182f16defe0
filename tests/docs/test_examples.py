"""The tutorial and the how-tos that add something are done as they are written, in a new folder."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment
from tests.docs.pages import blocks
from tests.openai_server import Server, running

DOCS = ROOT / "docs"
DONE = [DOCS / "tutorial.md", DOCS / "how-to/predictions.md", *sorted(DOCS.glob("how-to/add-*.md"))]
# Where the pages say that a judge is served; the stand-in that answers here is no language model.
SERVED = "http://localhost:8000/v1"


def reply(asked):
    message = {"role": "assistant", "content": "Commits: yes"}
    usage = {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


@pytest.fixture
def shell(tmp_path):
    """`shell(text)` runs a block as a newcomer would; what it printed."""
    place = tmp_path / "bin"
    place.mkdir()
    python = place / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    child = environment(ROOT)
    child["PATH"] = os.pathsep.join([str(place), child["PATH"]])

    def run(text):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=tmp_path,
            env=child,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("page", DONE, ids=lambda page: page.stem)
def test_the_page_can_be_done_as_it_is_written(page, tmp_path, shell):
    found = blocks(page)
    for block in found:
        if block.title:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    printed = ""
    with running(Server(reply=reply)) as url:
        for block in found:
            if block.language == "bash":
                printed += shell(block.text.replace(SERVED, url))
            elif block.language == "text":
                for line in block.text.strip().split("\n"):
                    assert plain(line) in plain(printed), f"line {block.line}: {line!r}\n{printed}"
    assert printed


def plain(text):
    """Spaces and frames of tables do not matter."""
    return " ".join(text.translate(dict.fromkeys(map(ord, "│┃|"), " ")).split())
