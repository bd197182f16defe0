"""`rubrics generate`: a model writes criteria for each item, from its question and reference.

It is asked as judges are, through the same engines, and its replies are kept as answers are: one a
line in `replies.jsonl`, on disk at once, so that a stopped command continues. `criteria.jsonl` is
what they come to, one item a line, for `rubrics clean`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lalm_bench import cli, progress, provenance, runs, stopping
from lalm_bench.analysis import criteria, findings
from lalm_bench.build import Experiment, build
from lalm_bench.compare.loaded import Run, load
from lalm_bench.errors import ConfigError, DataError, ModelError, Stopped
from lalm_bench.judges.judge import Judge
from lalm_bench.judges.judged import rubric_digest
from lalm_bench.judges.passes import Pass, ask, estimate
from lalm_bench.store import ResponseLog, RunFolder, write_bytes, write_json

STATE, REPLIES, CRITERIA = "generate.json", "replies.jsonl", "criteria.jsonl"
_NOTHING = "not given"
_INCOMPLETE = 1


def generate(
    name: str, outputs: Path, out: Path | None, wording: Path | None, overrides: Sequence[str]
) -> int:
    """Have a model write criteria for the items of a run; 0, or 1 where some have no reply.

    Parameters
    ----------
    name : str
        The run: a folder or a fingerprint.
    outputs : Path
        Where runs lie.
    out : Path, optional
        Default: `analysis/rubrics`.
    wording : Path, optional
        See `criteria.rubric`.
    overrides : sequence of str
        Settings of the judge that writes, and of the runtime.

    Raises
    ------
    BenchError
        The input is wrong, or the model's server is away.
    """
    run = load(runs.find(name, outputs, runs.SCORED))
    items, wordless = read_items(run)
    experiment = build(_config(wording, overrides))
    judge = experiment.judge
    if not isinstance(judge, Judge) or len(judge.asked) != 1 or judge.repeats != 1:
        raise ConfigError("one model writes the criteria, once: judge/panel=api or local")
    (writer,) = judge.asked
    if wanted := judge.models[writer].missing():
        raise DataError(f"judge.panel.{writer}: {'; '.join(wanted)}")
    folder = out or Path("analysis", "rubrics")
    if judge.dry_run:
        found = estimate(Pass(judge, writer, items), folder / REPLIES)
        asked = found.calls - found.stored
        sys.stdout.write(f"dry run: {asked} calls, {found.characters} characters of prompts\n")
        return 0
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / STATE).is_file())
    ):
        raise ConfigError(
            f"{folder} holds something else; name a new or an empty folder with --out"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); choose another place with --out"
        ) from error
    with stopping.listening(signal.SIGTERM):
        try:
            return _write(run, items, wordless, experiment, judge, folder)
        except Stopped as stopped:
            sys.stderr.write("stopped; the same command continues where it left off\n")
            return 128 + signal.Signals.__members__.get(stopped.reason, signal.SIGTERM)


def read_items(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """The items of a run as the template has them, and the ids of those without words as reference.

    Raises
    ------
    DataError
        No item has a reference in words.
    """
    items: dict[str, dict[str, Any]] = {}
    wordless = []
    for row in runs.decisions(run.folder):
        name = str(row["id"])
        if name in items or name in wordless:  # another variant of it
            continue
        answer = reference(row)
        if answer is None:
            wordless.append(name)
            continue
        items[name] = {
            "id": name,
            "question": str(row.get("question") or ""),
            "options": options(row),
            "others": [t for t in (row.get("options") or {}).values() if t != answer],
            "answer": answer,
            "thinking": str(row.get("thinking") or _NOTHING),
        }
    if not items:
        raise DataError(
            f"{run.folder}: none of its {len(wordless)} items has a reference answer in words; "
            "name a run of a task with options or texts as answers"
        )
    return [*items.values()], wordless


def reference(row: Mapping[str, Any]) -> str | None:
    """The right answer of a decision in words; None where it has none.

    Examples
    --------
    >>> reference({"target": "b", "target_text": "rain"}), reference({"target": ["a", "b"]})
    ('rain', 'a / b')
    """
    target = row.get("target_text") or row.get("target")
    if isinstance(target, list) and target and all(isinstance(t, str) for t in target):
        target = " / ".join(target)
    return target if isinstance(target, str) and target.strip() else None


def options(row: Mapping[str, Any]) -> str:
    """`(A) dog (B) cat`, or `none`."""
    return " ".join(f"({k}) {v}" for k, v in (row.get("options") or {}).items()) or "none"


def _config(wording: Path | None, overrides: Sequence[str]) -> DictConfig:
    node = criteria.rubric(wording)
    try:
        with initialize_config_dir(cli.home("conf"), version_base="1.3"):
            config = compose("config", ["judge=base", *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(cli.explain(error)) from error
    with open_dict(config):
        config.judge.rubric = OmegaConf.create(node)
    return config


def _write(
    run: Run,
    items: list[dict[str, Any]],
    wordless: list[str],
    experiment: Experiment,
    judge: Judge,
    folder: Path,
) -> int:
    (writer,) = judge.asked
    model = judge.models[writer]
    model.fetch()
    node: dict[str, Any] = experiment.config["judge"]
    state: dict[str, Any] = {
        "run": findings.sources([run])[0],
        "writer": model.identity(),
        "settings": node,
        "wording": rubric_digest(node["rubric"]),
        "seed": judge.seed,
        "versions": provenance.versions(),
        "git": provenance.git_state(),
    }
    with RunFolder(folder):
        write_json(folder / STATE, {**state, "status": "running"})
        work = Pass(judge, writer, items)
        log = ResponseLog(folder / REPLIES)
        try:
            bar = progress.wanted(experiment.config["progress"])
            ask(work, model, log, bar, lambda: model.load(experiment.runtime))
            with log.lookup() as answer:
                verdicts = [work.verdict(item, answer) for item in items]
        except ModelError as error:
            raise ModelError(f"judge.panel.{writer}: {error}") from error
        finally:
            log.close()
        rows, missing, malformed = [], [], 0
        for item, verdict in zip(items, verdicts, strict=True):
            if verdict is None:
                missing.append(item["id"])
                continue
            malformed += criteria.read(verdict.text) is None
            rows.append({**item, "reply": verdict.text})
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        write_bytes(folder / CRITERIA, b"".join(lines))
        counts = {
            "items": len(items),
            "replies": len(rows),
            "malformed": malformed,
            "missing": missing,
            "without_reference": wordless,
            **work.spent(),
        }
        status = "incomplete" if missing else "finished"
        write_json(folder / STATE, {**state, "status": status, "counts": counts})
    left = f", {len(wordless)} items without a reference in words were left out" if wordless else ""
    sys.stdout.write(
        f"{len(rows)} of {len(items)} items have a reply, {malformed} of them without criteria"
        f"{left}: {folder / CRITERIA}\n"
    )
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        sys.stderr.write(
            f"incomplete: {len(missing)} items have no reply ({shown}); reasons are in "
            f"{folder / REPLIES}; the same command asks only them again\n"
        )
        return _INCOMPLETE
    return 0
