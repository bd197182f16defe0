"""The download against a real HTTP server on the loopback interface."""

import contextlib
import hashlib
import io
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lalm_bench.errors import DataError
from lalm_bench.tasks import tacos
from lalm_bench.tasks.tacos import File, extract, fetch, main

CONTENT = bytes(range(256)) * 4096 * 3  # 3 MiB: several blocks


def packed(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def entry(name, content):
    return File(name, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


class Mirror(ThreadingHTTPServer):
    """Serves `files`; may break off after `cuts[i]` bytes of the i-th answer or ignore Range."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.ranged, self.asked = {}, [], True, []
        self.stall = None
        self.url = f"http://127.0.0.1:{self.server_port}/files"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, wanted = self.path.rpartition("/")[2], self.headers["Range"]
        self.server.asked.append((name, wanted))
        content = self.server.files.get(name)
        if content is None:
            return self.send_error(404)
        start = 0
        if wanted and self.server.ranged:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            self.wfile.write(content[start:][:cut])
        if self.server.stall:
            self.server.stall.wait(30)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def large(mirror):
    mirror.files["large.bin"] = CONTENT
    return entry("large.bin", CONTENT)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_comes_whole_and_is_not_fetched_twice(mirror, large, tmp_path):
    root = tmp_path / "new" / "root"
    assert fetch(large, root, mirror.url) is True
    assert (root / "large.bin").read_bytes() == CONTENT
    assert names(root) == ["large.bin"]
    assert fetch(large, root, mirror.url) is False
    assert mirror.asked == [("large.bin", None)]


def test_the_address_may_have_a_place_for_the_name(mirror, large, tmp_path):
    assert fetch(large, tmp_path, mirror.url + "/{name}") is True
    assert tacos._address(tacos.URL, "x.csv").endswith("/15379789/files/x.csv/content")


def test_a_broken_transfer_goes_on_where_it_stopped(mirror, large, tmp_path):
    mirror.cuts = [1_000_000, 1_000_000, None]
    assert fetch(large, tmp_path, mirror.url) is True
    assert (tmp_path / "large.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in mirror.asked] == [None, "bytes=1000000-", "bytes=2000000-"]


def test_a_dead_transfer_keeps_its_part_for_the_next_call(mirror, large, tmp_path):
    mirror.cuts = [1_000_000, 0]
    with pytest.raises(DataError, match=r"1000000 of 3145728 bytes are kept .* resume"):
        fetch(large, tmp_path, mirror.url)
    assert names(tmp_path) == ["large.bin.part"]
    assert fetch(large, tmp_path, mirror.url) is True
    assert mirror.asked[-1] == ("large.bin", "bytes=1000000-")
    assert (tmp_path / "large.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(mirror, large, tmp_path):
    mirror.ranged = False
    (tmp_path / "large.bin.part").write_bytes(CONTENT[:5000])
    assert fetch(large, tmp_path, mirror.url) is True
    assert (tmp_path / "large.bin").read_bytes() == CONTENT


def test_a_server_that_always_breaks_off_at_the_same_place_ends_the_attempt(
    mirror, large, tmp_path
):
    mirror.ranged, mirror.cuts = False, [1000] * 5
    with pytest.raises(DataError, match="1000 of 3145728"):
        fetch(large, tmp_path, mirror.url)
    assert len(mirror.asked) == 2


def test_a_complete_part_is_only_checked(mirror, large, tmp_path):
    (tmp_path / "large.bin.part").write_bytes(CONTENT)
    assert fetch(large, tmp_path, mirror.url) is True
    assert mirror.asked == []


def test_wrong_content_is_thrown_away(mirror, large, tmp_path):
    mirror.files["large.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=r"wrong size or MD5.*thrown away"):
        fetch(large, tmp_path, mirror.url)
    assert names(tmp_path) == []


def test_a_damaged_or_oversized_part_is_thrown_away(mirror, large, tmp_path):
    for part in (b"?" * 1000, CONTENT + b"?"):
        (tmp_path / "large.bin.part").write_bytes(part)
        with pytest.raises(DataError, match="wrong size or MD5"):
            fetch(large, tmp_path, mirror.url)
        assert names(tmp_path) == []
    assert fetch(large, tmp_path, mirror.url) is True


def test_an_answer_of_another_size_never_touches_the_part(mirror, large, tmp_path):
    # Such as the login page of a network.
    (tmp_path / "large.bin.part").write_bytes(CONTENT[:5000])
    mirror.files["large.bin"], mirror.ranged = b"<html>please log in</html>", False
    with pytest.raises(DataError, match="offers 26 bytes instead of 3145728; 5000 of"):
        fetch(large, tmp_path, mirror.url)
    assert (tmp_path / "large.bin.part").read_bytes() == CONTENT[:5000]
    mirror.ranged = True
    with pytest.raises(DataError, match="416"):
        fetch(large, tmp_path, mirror.url)


def test_a_file_of_the_users_is_never_overwritten(mirror, large, tmp_path):
    (tmp_path / "large.bin").write_text("mine")
    with pytest.raises(DataError, match="move it away"):
        fetch(large, tmp_path, mirror.url)
    assert (tmp_path / "large.bin").read_text() == "mine"
    assert mirror.asked == []


def test_a_full_disk_is_named(mirror, large, tmp_path):
    (tmp_path / "large.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"No space left on device; make room"):
        fetch(large, tmp_path, mirror.url)


def test_absent_files_and_servers_are_named(mirror, tmp_path):
    with pytest.raises(DataError, match="answers 404"):
        fetch(entry("absent.csv", b"x"), tmp_path, mirror.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DataError, match=r"cannot reach .*refused"):
            fetch(entry("absent.csv", b"x"), tmp_path, url)
    with pytest.raises(DataError, match="not a web address"):
        fetch(entry("absent.csv", b"x"), tmp_path, "file:///etc")


# --------------------------------------------------------------------------- the archive


@pytest.mark.parametrize("wrap", ["", "audio/"])
def test_recordings_land_in_the_folder(tmp_path, wrap):
    members = {f"{wrap}1.mp3": b"one", f"{wrap}2.mp3": b"two"}
    if wrap:
        members = {wrap: b"", **members}
    (tmp_path / "audio.zip").write_bytes(packed(members))
    assert extract(tmp_path / "audio.zip", tmp_path / "audio") == (2, 0)
    assert names(tmp_path / "audio") == ["1.mp3", "2.mp3"]
    assert (tmp_path / "audio" / "2.mp3").read_bytes() == b"two"
    (tmp_path / "audio" / "1.mp3").unlink()
    assert extract(tmp_path / "audio.zip", tmp_path / "audio") == (1, 1)


def test_what_is_there_already_stays(tmp_path):
    (tmp_path / "audio.zip").write_bytes(packed({"1.mp3": b"one", "2.mp3": b"two", "3.mp3": b"3"}))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "1.mp3").write_bytes(b"ONE")
    (tmp_path / "audio" / "2.mp3").write_bytes(b"my own recording")
    (tmp_path / "audio" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"2\.mp3: differs in size .*0 others; move"):
        extract(tmp_path / "audio.zip", tmp_path / "audio")
    assert (tmp_path / "audio" / "1.mp3").read_bytes() == b"ONE"
    assert (tmp_path / "audio" / "2.mp3").read_bytes() == b"my own recording"
    assert names(tmp_path / "audio") == ["1.mp3", "2.mp3", "3.mp3", "notes.txt"]


@pytest.mark.parametrize(
    "evil", ["../evil", "a/../../evil", "/evil", "audio/../../evil", "..\\evil"]
)
def test_a_member_outside_the_folder_is_refused_before_anything_is_written(tmp_path, evil):
    (tmp_path / "audio.zip").write_bytes(packed({"1.mp3": b"one", evil: b"evil"}))
    with pytest.raises(DataError, match="outside the folder"):
        extract(tmp_path / "audio.zip", tmp_path / "deep" / "audio")
    assert names(tmp_path) == ["audio.zip"]


def test_a_damaged_archive_is_named(tmp_path):
    archive = tmp_path / "audio.zip"
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="damaged archive"):
        extract(archive, tmp_path / "audio")
    archive.write_bytes(packed({"1.mp3": b"a recording"}).replace(b"a recording", b"a recordinG"))
    with pytest.raises(DataError, match="damaged archive"):
        extract(archive, tmp_path / "audio")
    assert not (tmp_path / "audio" / "1.mp3").exists()


# --------------------------------------------------------------------------- the command


@pytest.fixture
def record(mirror, monkeypatch):
    """A small stand-in for the record, with the same names."""
    mirror.files = {f.name: f.name.encode() for f in tacos.FILES}
    mirror.files["audio.zip"] = packed({"1.mp3": b"one"})
    files = tuple(entry(f.name, mirror.files[f.name]) for f in tacos.FILES)
    monkeypatch.setattr(tacos, "FILES", files)
    return files


def test_the_command_fetches_unpacks_and_can_be_repeated(record, mirror, tmp_path, capsys):
    assert main([str(tmp_path), "--base-url", mirror.url]) == 0
    assert names(tmp_path) == sorted(["audio", *[f.name for f in record]])
    assert (tmp_path / "audio" / "1.mp3").read_bytes() == b"one"
    out = capsys.readouterr().out
    assert out.count("CC BY 4.0") == 1
    assert "1 recordings unpacked" in out
    asked = len(mirror.asked)
    assert main([str(tmp_path), "--base-url", mirror.url]) == 0
    assert len(mirror.asked) == asked
    assert "1 already there" in capsys.readouterr().out


def test_audio_can_be_left_out(record, mirror, tmp_path):
    assert main([str(tmp_path), "--base-url", mirror.url, "--skip-audio"]) == 0
    assert names(tmp_path) == sorted([f.name for f in record if f.name != "audio.zip"])


def test_a_failure_is_one_line_and_exit_code_2(mirror, tmp_path):
    command = [sys.executable, "-m", "lalm_bench.tasks.tacos", tmp_path, "--base-url", mirror.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: annotations_strong.csv: ")


def test_a_stopped_download_keeps_its_part(mirror, tmp_path):
    first = tacos.FILES[0]
    mirror.files[first.name] = bytes(first.size)
    mirror.cuts, mirror.stall = [2_000_000], threading.Event()
    command = [sys.executable, "-m", "lalm_bench.tasks.tacos", tmp_path, "--base-url", mirror.url]
    part = tmp_path / f"{first.name}.part"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
        assert running.stderr.read() == "stopped; run again to resume\n"
    mirror.stall.set()
    assert part.stat().st_size > 0


def test_the_table_is_the_published_record():
    assert sum(f.size for f in tacos.FILES) == 1_643_656_083
    assert all(re.fullmatch(r"[0-9a-f]{32}", f.md5) for f in tacos.FILES)
    assert tacos.FILES[-1].name == "audio.zip"
