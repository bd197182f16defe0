"""`stage=export`: what a model would be asked, as files, for inference outside this package.

DIR/requests.jsonl  one request a line; its messages name the clips
DIR/audio/*.wav     each distinct clip once, float32, exactly as `audio.render` gives it
DIR/audio/*.json    where it comes from, who is asked about it, what each edit did
DIR/original/*.wav  the same clips without the edits (export.original=true), to hear the difference
DIR/answers.csv     a template for `model=predictions`; never overwritten
DIR/export.json     what the folder holds, so that it is continued and never mixed
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from omegaconf import DictConfig

from lalm_bench import clip_files, stopping
from lalm_bench.build import Experiment, build
from lalm_bench.clip_files import ClipFile
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.identity import Sealer
from lalm_bench.models.prediction_files import asked
from lalm_bench.preflight import Plan, select
from lalm_bench.store import RunFolder, read_json, write_bytes, write_json
from lalm_bench.types import Audio, Context, Message, Request

COLUMNS = ("id", "variant", "request", "output")
_PARTIAL = ".requests.jsonl.partial"
_OWN_BEFORE_MANIFEST = frozenset({".lock", _PARTIAL})
_LINE_EVERY_S = 30.0


def export(config: DictConfig) -> str:
    """Write the requests of one condition, or what is missing of them; return the folder.

    No weights are touched: of the model only the sampling rate is used.

    Raises
    ------
    BenchError
        The input is wrong, a clip cannot be read, or the folder holds something else.
    """
    experiment = build(config)
    folder, rate, original = _folder(experiment), _rate(experiment), _original(experiment)
    if absent := experiment.task.missing(True):
        raise DataError("; ".join(absent))
    samples = select(experiment.task.samples(), experiment.limit, experiment.seed)
    plan = Plan(
        samples,
        experiment.task,
        experiment.intervention,
        experiment.generation,
        Sealer({}, {}, rate, stochastic=False, seed=experiment.seed),
        Context(experiment.seed, samples),
        hears=True,
    )
    plan.check()
    if plan.open:
        raise ConfigError(
            "stage=export: what is asked next depends on the answers (protocol or intervention in "
            "steps); export a protocol of one turn"
        )
    with RunFolder(folder):
        clips, template = _requests(experiment, plan, folder, rate)
        steps = clip_files.render(folder, clips, rate, experiment.runtime.workers, original)
        written = sum(_told(steps, len(clips)))
        if not (folder / "answers.csv").exists():
            write_bytes(folder / "answers.csv", template.encode())
        (folder / _PARTIAL).replace(folder / "requests.jsonl")
    skipped = sum(plan.skipped.values())
    sys.stdout.write(
        f"exported {sum(map(len, plan.asked))} requests, {len(clips)} clips at {rate} Hz "
        f"({written} written now), {skipped} skipped by the intervention: {folder}\n"
    )
    return str(folder)


def _folder(experiment: Experiment) -> Path:
    name = experiment.config["export"]["folder"]
    if not name:
        raise ConfigError("export.folder must be set: add export.folder=DIR to the command")
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"export.folder={folder} is a file; name an empty or a new folder")
    held = {p.name for p in folder.iterdir()} if folder.exists() else set()
    if "export.json" not in held and (foreign := sorted(held - _OWN_BEFORE_MANIFEST)):
        raise ConfigError(
            f"export.folder={folder} holds something else ({foreign[0]}); name an empty or a new "
            "folder"
        )
    return folder


def _rate(experiment: Experiment) -> int:
    chosen = experiment.config["export"]["rate"]
    rate = experiment.model.rate if chosen is None else chosen
    if rate is None:
        raise ConfigError(
            f"model={experiment.model.name} hears nothing, so nothing says at which rate to "
            "render: set export.rate, e.g. 16000"
        )
    if isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0:
        raise ConfigError(f"export.rate={rate!r} must be a positive whole number of Hz")
    return rate


def _original(experiment: Experiment) -> bool:
    wanted = experiment.config["export"]["original"]
    if not isinstance(wanted, bool):
        raise ConfigError(f"export.original={wanted!r} must be true or false")
    return wanted


def _requests(
    experiment: Experiment, plan: Plan, folder: Path, rate: int
) -> tuple[dict[str, ClipFile], str]:
    """Write requests (not yet under their final name) and manifest; return clips and template.

    The clips are by file name. Other requests replace those of an export that was never finished,
    and no others.
    """
    clips: dict[str, ClipFile] = {}
    template = io.StringIO()
    answers = csv.writer(template, lineterminator="\n")
    answers.writerow(COLUMNS)
    content = hashlib.blake2b(digest_size=16)
    with open(folder / _PARTIAL, "wb", buffering=1 << 20) as out:
        for _, request in plan.requests():
            for source in request.clips():
                clip = clips.setdefault(clip_files.name(source, rate), ClipFile(source))
                clip.items[request.sample_id] = None
            digest = asked(request)
            line = orjson.dumps(_row(request, digest, rate), option=orjson.OPT_APPEND_NEWLINE)
            content.update(line)
            out.write(line)
            answers.writerow((request.sample_id, request.variant, digest, ""))
    before = read_json(folder / "export.json")
    finished = (folder / "requests.jsonl").exists()
    if before is not None and finished and before["content"] != content.hexdigest():
        (folder / _PARTIAL).unlink()
        raise ConfigError(
            f"export.folder={folder} holds other requests ({before['condition']}; other settings, "
            "data or code); name another folder"
        )
    manifest = {
        "content": content.hexdigest(),
        "condition": experiment.condition,
        "rate": rate,
        "requests": sum(map(len, plan.asked)),
        "clips": len(clips),
        "skipped": dict(plan.skipped),
        "config": experiment.config,
    }
    if not finished:
        write_json(folder / "export.json", manifest)
    return clips, template.getvalue()


def _row(request: Request, digest: str, rate: int) -> dict[str, Any]:
    return {
        "id": request.sample_id,
        "variant": request.variant,
        "request": digest,
        "messages": [_turn(message, rate) for message in request.messages],
        "choices": [asdict(choice) for choice in request.choices],
        "question": request.question,
        "generation": asdict(request.generation),
    }


def _turn(message: Message, rate: int) -> dict[str, Any]:
    """The form that chat templates of transformers take; paths are relative to the folder."""
    content = [
        {"type": "audio", "audio": clip_files.name(part.source, rate)}
        if isinstance(part, Audio)
        else {"type": "text", "text": part.text}
        for part in message.parts
    ]
    return {"role": message.role, "content": content}


def _told(steps: Iterator[bool], total: int) -> Iterator[bool]:
    """Pass the steps on; a line to stderr now and then."""
    last = time.monotonic()
    for done, step in enumerate(steps, 1):
        stopping.check()
        if time.monotonic() - last > _LINE_EVERY_S:
            last = time.monotonic()
            sys.stderr.write(f"{done}/{total} clips\n")
        yield step
