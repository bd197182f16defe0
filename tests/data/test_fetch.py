"""The hub's own client against a server on the loopback interface that speaks its protocol."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from lalm_bench.data.fetch import source
from lalm_bench.errors import ConfigError
from tests.conftest import ROOT, environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/long_audio"


class Hub(ThreadingHTTPServer):
    """One data set at one commit; may break off once in the middle of a file."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {
            "README.md": b"card",
            "race/race_benchmark.json": b"[]",
            "race/a.wav": bytes(range(256)) * 1200,
        }
        self.card = {"license": "cc-by-nc-4.0"}
        self.gated, self.listed, self.cut, self.gets = False, {}, None, []
        self.pause, self.paused, self.go_on = 0, threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def info(self):
        siblings = []
        for name, content in self.files.items():
            content = self.listed.get(name, content)
            entry = {"rfilename": name, "size": len(content), "blobId": oid(content)}
            if name.endswith(".wav"):
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {
            "id": REPO,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "cardData": self.card,
            "siblings": siblings,
        }


def oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        if match := re.fullmatch(rf"/api/datasets/{REPO}(?:/revision/(.+))?", path):
            if match[1] not in (None, "main", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            return self.reply(json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
        if match := re.fullmatch(rf"/api/datasets/{REPO}/tree/{COMMIT}(.*)", path):
            tree = [
                {"type": "file", "oid": oid(c), "size": len(c), "path": n}
                for n, c in hub.files.items()
            ]
            return self.reply(json.dumps(tree).encode(), {"Content-Type": "application/json"})
        if match := re.fullmatch(rf"/datasets/{REPO}/resolve/{COMMIT}/(.+)", path):
            return self.file(match[1], body)
        return self.refuse(404, "RepoNotFound")

    def file(self, name, body):
        hub = self.server
        if hub.gated:
            return self.refuse(403, "GatedRepo")
        content = hub.files[name]
        etag = hashlib.sha256(content).hexdigest() if name.endswith(".wav") else oid(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = 0
        if body:
            wanted = self.headers.get("Range")
            hub.gets.append((name, wanted))
            if wanted:
                start = int(re.match(r"bytes=(\d+)-", wanted)[1])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.reply(content[start:], headers, 206 if start else 200, body)

    def refuse(self, status, code):
        self.reply(b"{}", {"X-Error-Code": code, "X-Error-Message": code}, status)

    def reply(self, content, headers, status=200, body=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body and self.command == "GET":
            cut = self.server.cut
            if self.server.pause and len(content) > 100_000:
                self.wfile.write(content[:1000])
                self.server.paused.set()
                self.server.go_on.wait(self.server.pause)
                self.close_connection = True
                return
            if cut and len(content) > cut:
                self.wfile.write(content[:cut])
                self.close_connection = True
                return
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(hub, tool, tmp_path):
    env = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }

    def call(*words, check=None, max_file_kb=None, **more):
        return tool("fetch", *words, check=check, env=env | more, max_file_kb=max_file_kb)

    call.env = env
    return call


def test_licence_first_then_all_files_at_one_commit(fetch, hub, tmp_path):
    done = fetch(REPO, tmp_path / "d", "--dry-run", check=0)
    assert "cc-by-nc-4.0" in done.stdout
    assert COMMIT in done.stdout
    assert "3 files, 307.2 kB" in done.stdout
    assert not (tmp_path / "d").exists()
    assert hub.gets == []
    done = fetch(REPO, tmp_path / "d", check=0)
    assert "3 files there and right" in done.stdout
    for name, content in hub.files.items():
        assert (tmp_path / "d" / name).read_bytes() == content
    record = json.loads((tmp_path / "d" / "fetched.json").read_text())
    assert (record["revision"], record["licence"]) == (COMMIT, "cc-by-nc-4.0")
    asked = len(hub.gets)
    fetch(REPO, tmp_path / "d", check=0)
    assert len(hub.gets) == asked, "nothing is fetched twice"


def test_a_broken_transfer_is_named_and_resumed(fetch, hub, tmp_path):
    hub.cut = 100_000
    done = fetch(REPO, tmp_path / "d", check=2)
    assert f"error: {REPO}: the transfer failed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "run again" in done.stderr
    assert not (tmp_path / "d" / "race" / "a.wav").exists()
    assert not (tmp_path / "d" / "fetched.json").exists()
    hub.cut, hub.gets[:] = None, []
    fetch(REPO, tmp_path / "d", check=0)
    assert (tmp_path / "d" / "race" / "a.wav").read_bytes() == hub.files["race/a.wav"]
    # The client keeps whole blocks of 10 MB; of a smaller file it asks for all again.
    assert [name for name, _ in hub.gets] == ["race/a.wav"]


def test_a_part_only(fetch, hub, tmp_path):
    fetch(REPO, tmp_path / "d", "--include", "race/*.json", check=0)
    assert (tmp_path / "d" / "race" / "race_benchmark.json").exists()
    assert not (tmp_path / "d" / "race" / "a.wav").exists()
    assert "no file matches" in fetch(REPO, tmp_path / "e", "--include", "*.mp3", check=2).stderr


def test_names_that_read_like_patterns_are_names(fetch, hub, tmp_path):
    hub.files |= {"a[1].wav": b"12" * 10, "what?*.csv": b"x"}
    fetch(REPO, tmp_path / "d", check=0)
    assert (tmp_path / "d" / "a[1].wav").read_bytes() == b"12" * 10


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
def test_files_that_would_leave_the_folder_are_refused_before_anything_comes(
    fetch, hub, tmp_path, name
):
    hub.files[name] = b"evil"
    done = fetch(REPO, tmp_path / "d", check=2)
    assert "would land outside" in done.stderr
    assert done.stderr.count("\n") == 1
    assert hub.gets == []
    assert not (tmp_path / "d").exists()


def test_a_disk_that_is_full_says_so(fetch, hub, tmp_path):
    done = fetch(REPO, tmp_path / "d", check=2, max_file_kb=100)
    assert "make room" in done.stderr.splitlines()[-1]
    fetch(REPO, tmp_path / "d", check=0)
    assert (tmp_path / "d" / "race" / "a.wav").read_bytes() == hub.files["race/a.wav"]


def test_an_interrupt_does_not_wait_for_the_file(fetch, hub, tmp_path):
    hub.pause = 30
    words = [sys.executable, "-m", "lalm_bench.data", "fetch", REPO, str(tmp_path / "d")]
    child = subprocess.Popen(
        words, env=environment(ROOT) | fetch.env, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert hub.paused.wait(60)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert child.returncode == 130
    assert said.splitlines()[-1] == "stopped; the same command continues"
    hub.pause = 0
    hub.go_on.set()
    fetch(REPO, tmp_path / "d", check=0)
    assert (tmp_path / "d" / "race" / "a.wav").read_bytes() == hub.files["race/a.wav"]


def test_what_differs_from_the_list_is_refused(fetch, hub, tmp_path):
    content = hub.files["race/a.wav"]
    hub.listed["race/a.wav"] = content[:-1] + b"x"
    done = fetch(REPO, tmp_path / "d", check=2)
    assert "its SHA-256 is not the one" in done.stderr
    assert not (tmp_path / "d" / "fetched.json").exists()


def test_refusals_say_what_to_do(fetch, hub, tmp_path):
    hub.gated = True
    assert "set HF_TOKEN" in fetch(REPO, tmp_path / "d", check=2).stderr
    hub.gated = False
    done = fetch(REPO, tmp_path / "d", "--revision", "v9", check=2)
    assert "mend --revision" in done.stderr
    assert "mend the name" in fetch("no/body", tmp_path / "d", check=2).stderr
    assert "write OWNER/NAME" in fetch("no body/x", tmp_path / "d", check=2).stderr
    done = fetch(REPO, tmp_path / "d", "--skip-audio", check=2)
    assert f"--skip-audio means nothing to fetch {REPO}" in done.stderr
    assert "HF_HUB_OFFLINE" in fetch(REPO, tmp_path / "d", check=2, HF_HUB_OFFLINE="1").stderr
    done = fetch(REPO, tmp_path / "d", check=2, HF_ENDPOINT="http://127.0.0.1:9")
    assert "the transfer failed" in done.stderr
    assert all(len(d.splitlines()) == 1 for d in [done.stderr])
    assert not (tmp_path / "d" / "fetched.json").exists()


def test_a_name_nobody_knows():
    with pytest.raises(ConfigError, match="there are audiomarathon, tacos, or a hub id"):
        source("taocs")


def test_tacos_goes_its_own_way(tool, tmp_path):
    done = tool("fetch", "tacos", tmp_path / "d", "--dry-run", "--skip-audio", check=0)
    assert "CC BY 4.0" in done.stdout
    assert "5 files, 13.7 MB" in done.stdout
    done = tool("fetch", "tacos", tmp_path / "d", "--include", "*.csv", check=2)
    assert "--include means nothing to fetch tacos" in done.stderr, "or 1.6 GB would come"
    done = tool("fetch", "tacos", tmp_path / "d", "--base-url", "http://127.0.0.1:9", check=2)
    assert "cannot reach" in done.stderr
