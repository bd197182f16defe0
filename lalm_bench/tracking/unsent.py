"""Which runs a store has not heard the end of: `<outputs>/.unsent/`, one small file a run.

The file is written before the store is asked anything and goes when the store has all, so that a
server that is away, and a process that was killed, leave the same trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lalm_bench.errors import StoreError
from lalm_bench.provenance import public
from lalm_bench.store import read_json, write_json


@dataclass(frozen=True)
class Unsent:
    """The notes about one store.

    Parameters
    ----------
    outputs : Path
    uri, experiment : str
        The store; user names and passwords do not enter the notes.
    """

    outputs: Path
    uri: str
    experiment: str

    @property
    def _root(self) -> Path:
        return self.outputs / ".unsent"

    def _file(self, folder: Path) -> Path:
        store = f"{public(self.uri)} {self.experiment}"
        digest = hashlib.blake2b(store.encode(), digest_size=4).hexdigest()
        return self._root / f"{folder.name}.{digest}.json"

    def add(self, folder: Path) -> None:
        """Note a run whose end is to be sent."""
        self._root.mkdir(parents=True, exist_ok=True)
        where = folder.absolute()
        base = self.outputs.absolute()
        inside = where.is_relative_to(base)
        note = {
            "folder": str(where.relative_to(base) if inside else where),
            "uri": public(self.uri),
            "experiment": self.experiment,
        }
        write_json(self._file(folder), note)

    def drop(self, folder: Path) -> None:
        """The store has all."""
        self._file(folder).unlink(missing_ok=True)

    def folders(self) -> list[Path]:
        """Runs that wait, the oldest note first; notes about folders that are gone are dropped."""
        stored = []
        suffix = self._file(Path("x")).name.removeprefix("x")
        for file in self._root.glob(f"*{suffix}"):
            try:
                stored.append((file.stat().st_mtime_ns, file, read_json(file)))
            except (OSError, StoreError):  # another process has just sent it, or it is torn
                continue
        found = []
        for _, file, note in sorted(stored, key=lambda row: row[:2]):
            folder = self.outputs / str((note or {}).get("folder", ""))
            if (folder / "run.json").is_file():
                found.append(folder)
            else:
                file.unlink(missing_ok=True)
        return found

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process is the only one that sends; the others need not wait."""
        if not self._root.is_dir():
            yield False
            return
        lock = FileLock(self._root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
