"""What each verb does with its arguments; returns the exit status."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError, DataError

DONE, FOUND, STOPPED = 0, 1, 130


def fetch(args: argparse.Namespace) -> int:
    """Show the licence, then download."""
    from rich.filesize import decimal

    from lalm_bench.data import fetch as hub

    tacos = args.name == hub.TACOS
    foreign = ("revision", "include") if tacos else ("skip_audio", "base_url")
    for option in (name for name in foreign if getattr(args, name)):
        flag = option.replace("_", "-")
        raise ConfigError(f"--{flag} means nothing to fetch {args.name}; leave it out")
    if tacos:
        return _tacos(args)
    chosen = hub.source(args.name)
    print(f"{chosen.repo}: {chosen.licence}", flush=True)
    offer = hub.look_up(chosen.repo, args.revision, args.include)
    print(
        f"licence on its card: {offer.licence}; revision {offer.commit}; "
        f"{len(offer.sizes)} files, {decimal(offer.bytes)}",
        flush=True,
    )
    if not args.dry_run:
        signal.signal(signal.SIGINT, _stop_at_once)
        print(f"{args.folder}: {hub.download(offer, args.folder)} files there and right")
    return DONE


def _stop_at_once(*_: Any) -> None:
    """Leave without waiting: the client's threads would first finish their files, for minutes."""
    os.write(2, b"\nstopped; the same command continues\n")
    os._exit(STOPPED)


def _tacos(args: argparse.Namespace) -> int:
    from rich.filesize import decimal

    from lalm_bench.tasks import tacos

    if args.dry_run:
        wanted = [f for f in tacos.FILES if not (args.skip_audio and f.name == tacos.ARCHIVE)]
        print(tacos.LICENCE)
        print(f"{len(wanted)} files, {decimal(sum(f.size for f in wanted))}")
        return DONE
    words = [str(args.folder)]
    words += ["--skip-audio"] if args.skip_audio else []
    words += ["--base-url", args.base_url] if args.base_url else []
    return tacos.main(words)


def check(args: argparse.Namespace) -> int:
    """Print facts and findings; 1 when a run would refuse or miscount something."""
    from lalm_bench.data import findings
    from lalm_bench.data.check import check as look
    from lalm_bench.data.compose import compose_task

    task, settings = compose_task(args.name, args.overrides)
    facts, found = look(
        task,
        settings,
        audio=not args.no_audio,
        digest=not args.no_digest,
        decode=args.decode,
    )
    if args.json:
        content = {"task": args.name, "facts": facts, "findings": findings.as_json(found)}
        _write_json(args.json, content)
    findings.show(f"check {args.name}", facts, found)
    return FOUND if findings.failed(found) else DONE


def stats(args: argparse.Namespace) -> int:
    """Print the main facts; write all of them and a figure."""
    from lalm_bench.data import findings
    from lalm_bench.data.compose import compose_task
    from lalm_bench.data.stats import describe, draw

    task, _ = compose_task(args.name, args.overrides)
    if missing := task.missing(False):
        raise DataError("; ".join(missing))
    samples = list(task.samples())
    facts: dict[str, Any] = describe([s for s in samples if s.fault is None], task.groups)
    facts["bad_rows"] = [s.fault for s in samples if s.fault is not None]
    folder = args.out or Path("outputs", "data")
    _write_json(folder / f"{args.name}.json", facts)
    try:
        files = draw(facts, args.name, folder / args.name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    seconds, places = facts["durations"], facts["positions"]
    shown = {name: facts[name] for name in ("items", "clusters", "clips", "unreadable_clips")}
    if facts["bad_rows"]:
        shown["bad rows, left out"] = f"{len(facts['bad_rows'])}; {facts['bad_rows'][0]}"
    if seconds["n"]:
        shown["hours"] = round(seconds["total_hours"], 3)
        shown["seconds"] = (
            f"{seconds['min']:.2f} to {seconds['max']:.2f}, median {seconds['median']:.2f}"
        )
    if places["observed"]:
        shown["right option by place"] = ", ".join(f"{n:.0f}" for n in places["observed"])
        shown["equal places, chi-square p"] = places["chi_square_p"]
        shown["most frequent right option"] = facts["targets"]["largest_share"]
        longest = facts["text"]["right_is_longest"]
        shown["right option is the longest"] = (
            f"{longest['share']:.3f} (chance {longest['chance']:.3f})"
        )
    findings.show(f"stats {args.name}", shown)
    print("\n".join(str(path) for path in (folder / f"{args.name}.json", *files)))
    return DONE


def segment(args: argparse.Namespace) -> int:
    """Plan, write the recordings, and last the table, so that a whole table means whole data."""
    from lalm_bench.data import assembly, findings, half_truth, scenes_and_genres

    collection = scenes_and_genres.COLLECTIONS.get(args.name)
    low, high = collection.seconds if collection else half_truth.SECONDS
    low = low if args.min_s is None else args.min_s
    high = high if args.max_s is None else args.max_s
    for option in ("min_s", "max_s", "min_fake_s", "rate"):
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{option.replace('_', '-')} {value:g}: give a number above 0")
    if not args.source.is_dir():
        raise DataError(f"{args.source}: no such folder of clips")
    if args.folder.resolve().is_relative_to(args.source.resolve()):
        raise DataError(f"{args.folder}: lies among the clips; choose a folder outside of theirs")
    settings = {"collection": args.name, "seed": args.seed, "min_s": low, "max_s": high}
    if collection:
        table = collection.table
        planned, facts = scenes_and_genres.plan(collection, args.source, low, high, args.seed)
    else:
        if args.labels is None:
            raise DataError("segment had needs --labels FILE, HAD's list of parts")
        table = half_truth.TABLE
        planned, facts = half_truth.plan(
            args.source, args.labels, low, high, args.seed, args.min_fake_s
        )
    written, there = assembly.write(planned, args.folder, args.rate, settings)
    rows = [planned_one.row for planned_one in planned]
    _write_json(args.folder / table, rows)
    findings.show(f"segment {args.name}", {**facts, "written": written, "there already": there})
    print(f"{args.folder / table}: {len(rows)} items; run task={args.name} task.root={args.folder}")
    return DONE


def manifest(args: argparse.Namespace) -> int:
    """Write the rows; name those that were refused."""
    from lalm_bench.data.manifest import rows
    from lalm_bench.tasks.records import write_records

    made, refused = rows(args.name, args.source)
    if not made:
        raise DataError("; ".join([f"{args.source}: no row could be used", *refused[:1]]))
    write_records(made, args.out)
    print(f"{args.out}: {len(made)} rows, {len(refused)} refused")
    for fault in refused:
        print(f"refused: {fault}")
    return DONE


def _write_json(path: Path, content: Mapping[str, Any] | list[dict[str, Any]]) -> None:
    from lalm_bench.store import write_bytes

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str)
        write_bytes(path, text.encode() + b"\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({error.strerror}); make room or name another")
