"""`check`: whether a data set is what a run takes it for."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lalm_bench.data.findings import ERROR, WARNING, Finding, finding
from lalm_bench.data.recordings import Recording, look_at, span
from lalm_bench.errors import BenchError, one_line
from lalm_bench.tasks.audiomarathon.duration import BUCKETS
from lalm_bench.types import AudioRef, Json, Sample, Task

_SHORT, _LONG = BUCKETS[0], BUCKETS[-1]


def check(
    task: Task,
    settings: Mapping[str, Any],
    *,
    audio: bool = True,
    digest: bool = True,
    decode: bool = False,
) -> tuple[dict[str, Json], list[Finding]]:
    """Facts and findings of a task's data.

    Parameters
    ----------
    task : Task
    settings : mapping
        The task's resolved configuration (`published_items` is compared where it is set).
    audio : bool
        Look at the recordings.
    digest, decode : bool
        See `recordings.look_at`.
    """
    missing = task.missing(audio)
    found = finding(ERROR, "not there", missing, "see the place") if missing else []
    samples, faults = _items(task) if not task.missing(False) else ([], [])
    found += finding(ERROR, "bad row", faults, "mend or drop the row")
    found += _questions(samples)
    recordings: dict[str, Recording] = {}
    if audio:
        refs = [clip for s in samples for clip in s.audio if isinstance(clip, AudioRef)]
        recordings = look_at([ref.path for ref in refs], digest=digest, decode=decode)
        found += _audio(samples, recordings)
    published = settings.get("published_items")
    if published is not None and samples and len(samples) != published:
        found += finding(
            WARNING,
            "another number of items than published",
            [f"{len(samples)} here, {published} published"],
            "complete the data, or say so beside the result",
        )
    return _facts(samples, recordings, digest and audio), found


def _items(task: Task) -> tuple[list[Sample], list[str]]:
    """Sound items, and what is wrong with the others."""
    samples: list[Sample] = []
    faults: list[str] = []
    try:
        for sample in task.samples():
            if sample.fault is None:
                samples.append(sample)
            else:
                faults.append(sample.fault)
    except BenchError as error:
        faults.append(f"{one_line(error)} (nothing was checked beyond this)")
    return samples, faults


def _questions(samples: Sequence[Sample]) -> list[Finding]:
    ids = Counter(s.id for s in samples)
    asked = [s for s in samples if s.choices]
    texts = {s.id: Counter(c.text for c in s.choices) for s in asked}
    same: defaultdict[Any, list[str]] = defaultdict(list)
    for s in asked:
        same[s.audio, s.question, s.choices].append(s.id)
    return [
        *finding(
            ERROR, "id twice", [i for i, n in ids.items() if n > 1], "give each item its own id"
        ),
        *finding(
            ERROR,
            "answer not among options",
            [s.id for s in asked if all(c.label != s.target for c in s.choices)],
            "mend or drop the item",
        ),
        *finding(
            ERROR,
            "label twice",
            [s.id for s in asked if len({c.label for c in s.choices}) < len(s.choices)],
            "relabel the options",
        ),
        *finding(
            ERROR,
            "no question",
            [s.id for s in asked if not s.question.strip()],
            "add the question",
        ),
        *finding(
            WARNING,
            "two options with one text",
            [i for i, counts in texts.items() if max(counts.values()) > 1],
            "mend the options: a right answer by text is ambiguous",
        ),
        *finding(
            WARNING,
            "an item twice under several ids",
            [" = ".join(group[:3]) for group in same.values() if len(group) > 1],
            "drop one: it counts twice",
        ),
        *finding(
            WARNING,
            "shorter than 90 s",
            [s.id for s in samples if s.meta.get("duration") == _SHORT],
            "the benchmark promises 90 to 300 s; see accuracy by duration",
        ),
        *finding(
            WARNING,
            "longer than 300 s",
            [s.id for s in samples if s.meta.get("duration") == _LONG],
            "the benchmark promises 90 to 300 s; see accuracy by duration",
        ),
    ]


def _audio(samples: Sequence[Sample], recordings: Mapping[str, Recording]) -> list[Finding]:
    users: defaultdict[str, list[str]] = defaultdict(list)
    outside = []
    for sample in samples:
        for clip in sample.audio:
            if isinstance(clip, AudioRef):
                users[clip.path].append(sample.id)
                if not recordings[clip.path].fault and span(clip) is None:
                    outside.append(sample.id)
    by_digest: defaultdict[str, list[str]] = defaultdict(list)
    for recording in recordings.values():
        if recording.digest:
            by_digest[recording.digest].append(users[recording.path][0])

    def items(chosen: list[Recording]) -> list[str]:
        return [i for recording in chosen for i in users[recording.path]]

    known = list(recordings.values())
    unreadable = [r for r in known if r.fault and not r.absent]
    rates = Counter(r.rate for r in known if r.rate)
    usual = max(rates, key=lambda rate: rates[rate], default=None)
    return [
        *finding(ERROR, "no recording", items([r for r in known if r.absent]), "fetch the audio"),
        *finding(
            ERROR,
            "unreadable recording",
            [f"{i}: {r.fault}" for r in unreadable for i in users[r.path]],
            "replace the file",
        ),
        *finding(ERROR, "part outside its recording", outside, "mend start and end"),
        *finding(
            ERROR,
            "samples that are no numbers",
            items([r for r in known if r.not_finite]),
            "replace the file",
        ),
        *finding(
            WARNING,
            "digital silence",
            items([r for r in known if r.silent]),
            "nothing can be heard: replace the file",
        ),
        *finding(
            WARNING,
            "one recording under several names",
            [" = ".join(group[:3]) for group in by_digest.values() if len(group) > 1],
            "items that share audio are not independent: cluster them",
        ),
        *finding(
            WARNING,
            "recordings differ in sampling rate",
            [
                f"{i}: {r.rate} Hz, most have {usual} Hz"
                for r in known
                if r.rate and r.rate != usual
                for i in users[r.path]
            ],
            "all are resampled to the model's rate; narrow ones lack high frequencies",
        ),
        *finding(
            WARNING,
            "shorter than its header says",
            items([r for r in known if r.cut_short]),
            "perhaps a transfer that broke off: fetch the file again",
        ),
    ]


def _facts(
    samples: Sequence[Sample], recordings: Mapping[str, Recording], digest: bool
) -> dict[str, Json]:
    known = [r.seconds for r in recordings.values() if r.seconds is not None]
    return {
        "items": len(samples),
        "clusters": len({s.cluster for s in samples}),
        "recordings": len(recordings),
        "hours": round(sum(known) / 3600, 3),
        "content_digest": _content(samples, recordings) if digest and samples else None,
    }


def _content(samples: Sequence[Sample], recordings: Mapping[str, Recording]) -> str:
    """Equal on two machines exactly when both have the same items, answers and audio bytes."""
    hasher = hashlib.blake2b(digest_size=16)
    for sample in sorted(samples, key=lambda s: s.id):
        heard = [
            recordings[c.path].digest if isinstance(c, AudioRef) else c.content()
            for c in sample.audio
        ]
        options = [[c.label, c.text] for c in sample.choices]
        row = [sample.id, sample.question, options, sample.target, heard]
        hasher.update(orjson.dumps(row, default=str) + b"\n")
    return hasher.hexdigest()
