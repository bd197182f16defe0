"""The run folder: append-only answers, resume, atomic results.

    outputs/<task>/<model>/<condition>/<fingerprint>/
        run.json         what was asked, by which code, and how it ended
        responses.jsonl  one answer a line, on disk before the next batch starts
        inputs.json      the files the scores depend on

A shard of the run has its own files there: `run.2-of-4.json`, `responses.2-of-4.jsonl`. A kill at
any moment loses at most the batch in flight.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from filelock import FileLock, Timeout

from lalm_bench import provenance, stopping
from lalm_bench.errors import Busy, StoreError, one_line
from lalm_bench.types import Response

_SYNC_EVERY_S = 1.0
# Somebody who only looks whether a folder is held holds it himself for a moment.
_LOOKING_S = 0.2
# The place of a line: its offset, and in the bits above it the number of its file.
_FILE = 1 << 48


def write_json(path: Path, value: Any) -> None:
    """Strict JSON, indented, in one atomic step (a reader sees the old file or the new one)."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the target, then rename over it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Parsed content, or None when the file is not there; StoreError when it is damaged."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise StoreError(f"{path}: not JSON ({error}); delete it and run again") from error


class ResponseLog:
    """Append-only `responses.jsonl` with an index by key.

    Parameters
    ----------
    path : Path
        The file; created when missing. A torn last line (a kill in the middle of a write) is cut
        off and its request asked again.
    beside : sequence of Path
        Further files of answers to read, which others may be writing.

    Notes
    -----
    The index holds one file offset an answer, so memory grows by about 150 bytes an item.
    """

    def __init__(self, path: Path, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self._paths = [path, *beside]
        self._places: dict[bytes, int] = {}
        self._failed: dict[bytes, int] = {}
        self.repaired = _cut_torn_tail(path)
        for number in reversed(range(len(self._paths))):  # the own file last: it has the last word
            self._end = self._index(number)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._synced = time.monotonic()

    def _index(self, number: int) -> int:
        """Note every line of one file; bytes read."""
        end, path = 0, self._paths[number]
        if not path.exists():
            return end
        with open(path, "rb", buffering=1 << 20) as file:
            for place, line in enumerate(file, 1):
                if number and not line.endswith(b"\n"):  # somebody is writing it
                    break
                try:
                    row = orjson.loads(line)
                    self._note(row["key"], number * _FILE + end, row["finish"] == "error")
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"{path} line {place}: not an answer ({one_line(error)}); delete "
                        "that line (its item is asked again) or the file"
                    ) from error
                end += len(line)
        return end

    def _note(self, key: str, place: int, failed: bool) -> None:
        name = bytes.fromhex(key)
        if failed:
            if name not in self._places:
                self._failed[name] = place
        else:
            self._failed.pop(name, None)
            self._places[name] = place

    def __len__(self) -> int:
        return len(self._places)

    def answered(self, key: str) -> bool:
        """True once a non-error answer lies in the log."""
        return bytes.fromhex(key) in self._places

    def failed(self, key: str) -> bool:
        """True when all that lies in the log is an error."""
        return bytes.fromhex(key) in self._failed

    def append(self, response: Response) -> None:
        """Hand one answer to the operating system; it replaces an earlier error of its key."""
        row = {
            name: value
            for name in _RESPONSE_FIELDS
            if (value := getattr(response, name)) is not None
        }
        try:
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # half of a surrogate pair, which JSON cannot carry
            row["text"] = response.text.encode("utf-8", "replace").decode()
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        self._write(response.key, line, response.finish == "error")
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def adopt(self, keys: Iterable[str]) -> None:
        """Copy to the own file what only files beside it say about `keys`, errors too."""
        with self._lines() as line_at:
            for key in keys:
                name = bytes.fromhex(key)
                place = self._places.get(name)
                failed = place is None
                place = self._failed.get(name) if failed else place
                if place is not None and place >= _FILE:
                    self._write(key, line_at(place), failed)

    def _write(self, key: str, line: bytes, failed: bool) -> None:
        os.write(self._file, line)
        self._note(key, self._end, failed)
        self._end += len(line)

    def read(self, keys: Iterable[str]) -> Iterator[Response | None]:
        """Answers in the order of `keys`; None where there is none (or only an error)."""
        with self.lookup() as answer:
            yield from map(answer, keys)

    @contextmanager
    def lookup(self) -> Iterator[Callable[[str], Response | None]]:
        """`with log.lookup() as answer: answer(key)` is one answer, or None as in `read`."""
        with self._lines() as line_at:

            def answer(key: str) -> Response | None:
                place = self._places.get(bytes.fromhex(key))
                return None if place is None else Response(**orjson.loads(line_at(place)))

            yield answer

    @contextmanager
    def _lines(self) -> Iterator[Callable[[int], bytes]]:
        files: dict[int, BinaryIO] = {}
        positions: dict[int, int] = {}
        with ExitStack() as stack:

            def line_at(place: int) -> bytes:
                number, offset = divmod(place, _FILE)
                file = files.get(number)
                if file is None:
                    opened = open(self._paths[number], "rb", buffering=1 << 18)  # noqa: SIM115
                    file = files[number] = stack.enter_context(opened)
                if offset != positions.get(number):  # sequential reads stay inside the buffer
                    file.seek(offset)
                line = file.readline()
                positions[number] = offset + len(line)
                return line

            yield line_at

    def errors(self) -> int:
        """Keys whose only rows are errors."""
        return len(self._failed)

    def close(self) -> None:
        """Flush to the disk and close."""
        os.fsync(self._file)
        os.close(self._file)


_RESPONSE_FIELDS = tuple(Response.__slots__)


def _cut_torn_tail(path: Path) -> bool:
    """Drop bytes after the last line break; True if there were any."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    with open(path, "rb+") as file:
        end = size
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end == size:
            return False
        file.truncate(end)
    return True


class RunFolder:
    """One run's directory, held exclusively while it is open.

    Parameters
    ----------
    path : Path
    part : str
        Name of a shard; "" for the run as a whole.
    wait : float
        Seconds to wait for another holder.
    alone : bool
        Whether shards at work count as holders of the whole run.

    Raises
    ------
    Busy
        Another process works in it; says which.
    Stopped
        It was requested while waiting.

    Notes
    -----
    The lock is flock(2): the operating system releases it when its holder dies, however it dies. On
    a shared file system that holds between machines where flock does: NFSv4, NFSv3 with lockd,
    Lustre mounted with `-o flock`; with NFS's `local_lock` or Lustre's `localflock` only within one
    machine. What stands beside the lock (`.holder`) is for people and decides nothing.
    """

    def __init__(
        self, path: Path, part: str = "", *, wait: float = _LOOKING_S, alone: bool = True
    ) -> None:
        self.path = path
        self.part = part
        self._wait, self._alone = wait, alone and not part
        self._lock = FileLock(path / _dotted(".lock", part))
        self._holder = path / _dotted(".holder", part)

    def __enter__(self) -> RunFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            if self._alone and (working := at_work(self.path)):
                raise self._busy(working[0])
            write_json(
                self._holder,
                {"host": platform.node(), "pid": os.getpid(), "since": provenance.now()},
            )
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _acquire(self) -> None:
        until = time.monotonic() + self._wait
        while True:
            left = until - time.monotonic()
            try:
                self._lock.acquire(timeout=max(0.0, min(left, 1.0)), poll_interval=0.02)
                return
            except Timeout:
                if left <= 0:
                    raise self._busy(self.part) from None
            stopping.check()

    def _busy(self, part: str) -> Busy:
        try:
            note = read_json(self.path / _dotted(".holder", part))
        except StoreError:
            note = None
        what = f"shard {part} of this run" if part else "this run"
        who = f" (process {note['pid']} on {note['host']}, since {note['since']})" if note else ""
        return Busy(
            f"{self.path}: another process is working on {what}{who}; wait for it, or stop it"
        )

    def file(self, name: str) -> Path:
        """Where the file `name` of this run, or of this shard, lies."""
        stem, dot, ending = name.rpartition(".")
        return self.path / (_dotted(stem, self.part) + dot + ending)

    def state(self) -> dict[str, Any]:
        """Content of `run.json`, or an empty mapping."""
        return read_json(self.file("run.json")) or {}

    def save_state(self, **fields: Any) -> dict[str, Any]:
        """Update `run.json` atomically and return it."""
        state = {**self.state(), **fields}
        write_json(self.file("run.json"), state)
        return state


def at_work(path: Path) -> list[str]:
    """Names of the shards of a run on which some process works now.

    No shard can begin meanwhile if the caller holds the whole run.
    """
    working = []
    for file in sorted(path.glob(".lock.*")):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=_LOOKING_S / 4, poll_interval=0.01)
        except Timeout:
            working.append(file.name.removeprefix(".lock."))
        else:
            lock.release()
    return working


def _dotted(name: str, part: str) -> str:
    return f"{name}.{part}" if part else name


def stat_inputs(files: Iterable[Path | str]) -> dict[str, list[int]]:
    """Path -> [size, mtime in ns] of files that scores depend on; missing files are left out."""
    facts = {}
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            continue
        facts[str(file)] = [stat.st_size, stat.st_mtime_ns]
    return facts
