"""The report as a folder of static files: page, data, clips, figures and tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import provenance
from lalm_bench.compare.loaded import Run
from lalm_bench.compare.settings import labels
from lalm_bench.errors import ConfigError
from lalm_bench.report import attention, columns, one_page, overview, rebuilt, verdicts
from lalm_bench.report.columns import Before, Columns, Key
from lalm_bench.report.listening import Studio, choose
from lalm_bench.report.marks import Annotations
from lalm_bench.report.records import CHUNK, Reader
from lalm_bench.report.sources import Sources
from lalm_bench.store import write_bytes, write_json

_MARKER = "report.json"
DEFAULT_CLIPS = 60


@dataclass(frozen=True)
class Wish:
    """What the command line asks for.

    Parameters
    ----------
    folder : Path
    title : str
    clips : int or None
        Most samples whose clips are rendered, over all runs; None for every one.
    copy_audio : bool
        Copy recordings instead of referring to them.
    seed : int
        Draws the samples that are rendered.
    """

    folder: Path
    title: str
    clips: int | None = DEFAULT_CLIPS
    copy_audio: bool = False
    seed: int = 7


def write(sources: Sources, wish: Wish) -> list[str]:
    """Write the report in one step; return notes on what could not be shown.

    Raises
    ------
    ConfigError
        The folder holds something else than an earlier report.
    """
    with _replaced(wish.folder) as folder:
        notes = _write(sources, wish, folder)
        write_json(folder / _MARKER, {"made": provenance.now(), "title": wish.title})
    return notes


def _write(sources: Sources, wish: Wish, folder: Path) -> list[str]:
    for name in ("data", "tables", "figures"):
        (folder / name).mkdir()
    for file in (resources.files("lalm_bench.report") / "page").iterdir():
        if file.is_file() and not file.name.startswith("."):
            (folder / file.name).write_bytes(file.read_bytes())
    names = [_named(run, sources.runs) for run in sources.runs]
    before = _baselines(sources)
    said = [verdicts.read(run.folder) for run in sources.runs]
    watched = [attention.read(run.folder) for run in sources.runs]
    found = [
        columns.read(run, own, before.get(run.fingerprint), seen.folders)
        for run, own, seen in zip(sources.runs, said, watched, strict=True)
    ]
    studio = Studio(folder, wish.folder, wish.copy_audio)
    chosen = choose(found, wish.clips, wish.seed)
    notes = list(sources.left_out)
    for number, (own, spoken, seen, rows) in enumerate(
        zip(found, said, watched, chosen, strict=True)
    ):
        made = rebuilt.rebuild(own.run)
        reader = Reader(
            own,
            spoken,
            seen,
            made,
            Annotations.of(made.task),
            before.get(own.run.fingerprint),
            rows,
            studio,
        )
        heard = _write_run(folder, f"r{number}", own, reader)
        if made.why_not:
            notes.append(f"{names[number]}: prompts and clips cannot be made again: {made.why_not}")
        elif rows and not heard:
            notes.append(f"{names[number]}: no clip could be rendered")
    notes += studio.notes
    page = overview.gather(sources, found, said, watched, names, folder)
    index = {"title": wish.title, "made": provenance.now(), "notes": notes, **page}
    _put(folder / "data" / "index.js", "index", index)
    with open(folder / "report.html", "wb") as whole:
        whole.writelines(one_page.pieces(index, folder))
    return notes


def _write_run(folder: Path, key: str, own: Columns, reader: Reader) -> list[int]:
    """The columns and the records of one run; rows with a clip as it was heard."""
    heard = []
    for number, records in enumerate(reader.chunks()):
        start = number * CHUNK
        heard += [
            start + i for i, r in enumerate(records) if "heard" in (r.get("clips") or [{}])[0]
        ]
        _put(folder / "data" / f"{key}-{number}.js", f"{key}-{number}", records)
    _put(folder / "data" / f"{key}.js", key, own.json(dict.fromkeys(heard), CHUNK))
    return heard


def _put(path: Path, name: str, value: Any) -> None:
    """A script that hands its value to the page: files opened from disk can load nothing else."""
    data = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    # Wherever the script is put into a page, no text of a model can end it.
    data = data.replace(b"<", b"\\u003c")
    write_bytes(path, b'LB.put("' + name.encode() + b'",' + data + b");\n")


def _baselines(sources: Sources) -> dict[str, Mapping[Key, Before]]:
    """Fingerprint of a run -> its baseline's decisions."""
    found: dict[str, Mapping[Key, Before]] = {}
    for family in sources.paired.families:
        decisions = columns.baseline(family.baseline)
        for cell in family.cells:
            found[cell.run.fingerprint] = decisions
    return found


def _named(run: Run, all_runs: Sequence[Run]) -> str:
    """A run for people: task, model, protocol and condition, as far as they differ."""
    parts = {other.fingerprint: _part(other) for other in all_runs}
    own = parts[run.fingerprint]
    alike = [other for other in all_runs if parts[other.fingerprint] == own]
    condition = labels(alike)[alike.index(run)]
    if condition in (run.config["intervention"]["name"], run.config["pruning"]["name"]):
        # It is the only one of its kind: with its settings.
        condition = str(run.state["condition"]).removeprefix(f"{own[-1]}+")
    varying = [
        word
        for place, word in enumerate(own)
        if word and len({part[place] for part in parts.values()}) > 1
    ]
    return " · ".join([*varying, condition])


def _part(run: Run) -> tuple[str, str, str]:
    """Task, model and protocol ("" for none)."""
    config = run.config
    protocol = config["task"].get("protocol") or {}
    return str(config["task"]["name"]), str(config["model"]["name"]), str(protocol.get("name", ""))


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new folder beside the target, which takes its place when all went well."""
    if target.exists() and (
        not target.is_dir() or (any(target.iterdir()) and not (target / _MARKER).is_file())
    ):
        raise ConfigError(
            f"{target} holds something else than a report; name a new or an empty folder with --out"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
