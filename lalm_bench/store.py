"""The run folder: append-only answers, resume, atomic results.

    outputs/<task>/<model>/<condition>/<fingerprint>/
        run.json         what was asked, by which code, and how it ended
        responses.jsonl  one answer a line, on disk before the next batch starts
        inputs.json      the files the scores depend on

A kill at any moment loses at most the batch in flight.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from lalm_bench.errors import StoreError, one_line
from lalm_bench.types import Response

_SYNC_EVERY_S = 1.0


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

    Notes
    -----
    The index holds one file offset an answer, so memory grows by about 150 bytes an item.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[bytes, int] = {}
        self._failed: set[bytes] = set()
        self.repaired = _cut_torn_tail(path)
        self._index()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._synced = time.monotonic()

    def _index(self) -> None:
        self._end = 0
        if not self.path.exists():
            return
        with open(self.path, "rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                try:
                    row = orjson.loads(line)
                    self._note(row["key"], self._end, row["finish"] == "error")
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"{self.path} line {number}: not an answer ({one_line(error)}); delete "
                        "that line (its item is asked again) or the file"
                    ) from error
                self._end += len(line)

    def _note(self, key: str, offset: int, failed: bool) -> None:
        name = bytes.fromhex(key)
        if failed:
            if name not in self._offsets:
                self._failed.add(name)
        else:
            self._failed.discard(name)
            self._offsets[name] = offset

    def __len__(self) -> int:
        return len(self._offsets)

    def answered(self, key: str) -> bool:
        """True once a non-error answer lies in the log."""
        return bytes.fromhex(key) in self._offsets

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
        os.write(self._file, line)
        self._note(response.key, self._end, response.finish == "error")
        self._end += len(line)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def read(self, keys: Iterable[str]) -> Iterator[Response | None]:
        """Answers in the order of `keys`; None where there is none (or only an error)."""
        with self.lookup() as answer:
            yield from map(answer, keys)

    @contextmanager
    def lookup(self) -> Iterator[Callable[[str], Response | None]]:
        """`with log.lookup() as answer: answer(key)` is one answer, or None as in `read`."""
        position = -1
        with open(self.path, "rb", buffering=1 << 18) as file:

            def answer(key: str) -> Response | None:
                nonlocal position
                offset = self._offsets.get(bytes.fromhex(key))
                if offset is None:
                    return None
                if offset != position:  # sequential reads stay inside the buffer
                    file.seek(offset)
                line = file.readline()
                position = offset + len(line)
                return Response(**orjson.loads(line))

            yield answer

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

    Raises
    ------
    StoreError
        Another process works in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")

    def __enter__(self) -> RunFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"{self.path}: another process is working on this run; wait for it, or stop it"
            ) from None
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def state(self) -> dict[str, Any]:
        """Content of `run.json`, or an empty mapping."""
        return read_json(self.path / "run.json") or {}

    def save_state(self, **fields: Any) -> dict[str, Any]:
        """Update `run.json` atomically and return it."""
        state = {**self.state(), **fields}
        write_json(self.path / "run.json", state)
        return state


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
