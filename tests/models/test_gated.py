"""Gated weights, against a server on this machine that answers as the hub does."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading

import pytest

from tests.conftest import ROOT, environment

TOKEN = "hf_thisIsASecretThatNobodyMayRead"
FILES = ("config.json", "model.safetensors")
COMMIT = "c0ffee" + "0" * 34
LICENCES = {
    "gemma3n": "https://huggingface.co/google/gemma-3n-E4B-it",
    "text_llama": "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
}


class Hub(http.server.BaseHTTPRequestHandler):
    """Lists any repository's files and hands out none: 401 without a token, 403 with one."""

    seen: list[tuple[str, str | None]]

    def do_GET(self):
        token = self.headers.get("Authorization")
        self.seen.append((self.path, token))
        if "/tree/" in self.path:
            listed = [{"type": "file", "path": name, "size": 9, "oid": COMMIT} for name in FILES]
            self._reply(200, json.dumps(listed))
        elif self.path.startswith("/api/models/"):
            repo = self.path.removeprefix("/api/models/").split("/revision/")[0]
            files = [{"rfilename": name} for name in FILES]
            about = {"id": repo, "sha": COMMIT, "gated": "manual", "siblings": files}
            self._reply(200, json.dumps(about))
        else:
            self._reply(401 if token is None else 403, "Access to this model is restricted.")

    def do_HEAD(self):
        self.do_GET()

    def _reply(self, status, body):
        self.send_response(status)
        if status != 200:
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", f"{body} Your token was {TOKEN}")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body.encode())

    def log_message(self, *_):
        """Silence."""


@pytest.fixture
def hub(tmp_path):
    """`(environment of a child that asks this hub, what it was asked)`."""
    handler = type("Handler", (Hub,), {"seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asks = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "",
            "HF_TOKEN_PATH": str(tmp_path / "none"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        yield asks, handler.seen
        server.shutdown()


@pytest.mark.parametrize("token", ["", TOKEN], ids=["without_token", "with_token"])
def test_a_run_with_gated_weights_ends_in_one_line(bench, hub, token, tmp_path):
    asks, seen = hub
    done = bench("model=text_llama", "tracking=none", env=asks | {"HF_TOKEN": token}, check=2)
    said = done.stdout + done.stderr
    (line,) = [line for line in said.splitlines() if "gated" in line]
    for part in ("meta-llama/Llama-3.1-8B-Instruct", LICENCES["text_llama"], "HF_TOKEN"):
        assert part in line
    assert TOKEN not in said
    assert "Traceback" not in said
    # The token reached the hub, and nothing that would pass for a result was written.
    assert seen
    assert (f"Bearer {TOKEN}" in {sent for _, sent in seen}) == bool(token)
    assert not list(tmp_path.glob("outputs/**/responses.jsonl"))


@pytest.mark.parametrize("family", LICENCES)
@pytest.mark.parametrize("token", ["", TOKEN], ids=["without_token", "with_token"])
def test_the_error_names_licence_page_and_token_variable(hub, family, token):
    asks, _ = hub
    code = f"""
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lalm_bench.errors import ModelError
with initialize_config_dir({str(ROOT / "conf" / "model")!r}, version_base="1.3"):
    model = instantiate(compose({family!r}))
try:
    model.fetch()
except ModelError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(ROOT) | asks | {"HF_TOKEN": token},
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert LICENCES[family] in line
    assert "HF_TOKEN" in line
    assert TOKEN not in done.stdout + done.stderr
