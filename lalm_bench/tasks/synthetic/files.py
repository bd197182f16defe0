"""Synthetic items as files: 16-bit wavs and records in the published form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from lalm_bench.tasks.synthetic.catalogue import FAMILIES
from lalm_bench.tasks.synthetic.clip import SceneClip
from lalm_bench.tasks.synthetic.scene import PUBLISHED_VERSION, RATE, VERSION, Event
from lalm_bench.types import Sample


def write(samples: Sequence[Sample], folder: Path) -> Path:
    """Write the wavs (PCM-16, mono, 16 kHz) and the JSONL of one family and difficulty.

    Returns
    -------
    Path
        The JSONL; each `audio_filename` in it is relative to `folder`.
    """
    import soundfile

    lines = []
    for sample in samples:
        clip, fields = _clip(sample), record(sample)
        wav = folder / fields["audio_filename"]
        wav.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(wav, clip.pcm(), RATE, subtype="PCM_16")
        lines.append(json.dumps(fields) + "\n")
    path = folder / f"mcq_synth_{clip.family}_{clip.difficulty}.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def record(sample: Sample) -> dict[str, Any]:
    """An item in the published record form (TACoBeLAL, MCQ-SYNTH)."""
    clip = _clip(sample)
    family = FAMILIES[clip.family]
    keys = {text: key for key, text in family.options}
    scene = clip.scene()
    name, sounds = _sounds(clip.family, scene.events)
    return {
        "id": sample.id,
        "task": f"synthetic_{clip.family}_mcq",
        "task_id": f"MCQ-SYNTH-{clip.family.upper().replace('_', '-')}",
        "audio_filename": f"synthetic/{clip.family}/{clip.difficulty}/{sample.id}.wav",
        "question": sample.question,
        "options": [
            {"key": keys[c.text], "text": c.text, "type": family.kind, "label": c.label}
            for c in sample.choices
        ],
        "answer_label": sample.target,
        "answer_text": next(c.text for c in sample.choices if c.label == sample.target),
        "benchmark_family": clip.family,
        "difficulty": clip.difficulty,
        "generator_version": PUBLISHED_VERSION if clip.compat else VERSION,
        "question_template": sample.meta["template"],
        "scene": {"duration_seconds": scene.duration, name: sounds, **scene.facts},
    }


def _sounds(family: str, events: Sequence[Event]) -> tuple[str, list[dict[str, Any]]]:
    """Name of the list and its entries: one a sound, or one a burst of pips."""
    texts = dict(FAMILIES[family].options)
    if family != "rhythm":
        return "events", [_event(e, texts.get(e.key, f"the {e.key} beep")) for e in events]
    bursts = []
    for key, group in groupby(events, attrgetter("key")):
        pips = list(group)
        offset = pips[-1].offset
        span = {"offset": offset, "duration": round(offset - pips[0].onset, 3)}
        bursts.append({**_event(pips[0], texts[key]), **span, "count": len(pips)})
    return "bursts", bursts


def _event(event: Event, text: str) -> dict[str, Any]:
    is_tone = event.waveform not in ("bark", "horn")
    return {
        "key": event.key,
        "text": text,
        "identity": event.key,
        "waveform": event.waveform,
        "onset": event.onset,
        "duration": event.duration,
        "offset": event.offset,
        "pitch_hz": round(event.pitch_hz, 3) if is_tone else None,
        "dbfs": event.dbfs if is_tone else None,
    }


def _clip(sample: Sample) -> SceneClip:
    clip = sample.audio[0]
    if not isinstance(clip, SceneClip):
        raise TypeError(f"{sample.id}: not a synthetic scene")
    return clip
