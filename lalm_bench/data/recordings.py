"""Every recording of a data set, looked at once by several threads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lalm_bench import audio
from lalm_bench.digests import file_digest
from lalm_bench.errors import AudioError, one_line
from lalm_bench.types import AudioRef, AudioSource

if TYPE_CHECKING:
    import numpy as np

_LESS_DATA = re.compile(r"^data : (\d+) \(should be \d+\)", re.MULTILINE)
# Bytes; whoever writes a WAV into a pipe claims this much or more, not knowing the length.
_STREAMED = 0x7FFF0000


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a file; `fault` says why there is nothing more."""

    path: str
    seconds: float | None = None
    rate: int | None = None
    digest: str | None = None
    fault: str | None = None
    absent: bool = False
    silent: bool = False
    not_finite: bool = False
    cut_short: bool = False


def look_at(
    paths: Iterable[str], *, digest: bool = True, decode: bool = False, label: str = "recordings"
) -> dict[str, Recording]:
    """Facts of each file by path.

    Parameters
    ----------
    paths : iterable of str
    digest : bool
        Read the bytes.
    decode : bool
        Decode all samples: finds files cut short, silence and values that are no numbers.
    label : str
        For the progress bar on standard error.
    """
    from rich.console import Console
    from rich.progress import track

    wanted = list(dict.fromkeys(paths))
    console = Console(stderr=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = pool.map(lambda path: _look(path, digest, decode), wanted)
        shown = track(
            seen,
            label,
            len(wanted),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        return {recording.path: recording for recording in shown}


def _look(path: str, digest: bool, decode: bool) -> Recording:
    import soundfile

    try:
        frames, rate = audio.probe(path)
        # The decoder plays what there is of a WAV and says only in its log that there is less.
        less = _LESS_DATA.search(soundfile.info(path).extra_info)
        cut_short = less is not None and int(less[1]) < _STREAMED
        read = file_digest(path) if digest else None
        silent = not_finite = False
        if decode:
            wave, _ = audio.decode(AudioRef(path))
            silent, not_finite = _quality(wave)
    except (AudioError, OSError) as error:
        fault = one_line(error)
        return Recording(path, fault=fault, absent=not os.path.exists(path))
    return Recording(
        path,
        frames / rate,
        rate,
        read,
        silent=silent,
        not_finite=not_finite,
        cut_short=cut_short,
    )


def _quality(wave: np.ndarray) -> tuple[bool, bool]:
    import numpy as np

    finite = bool(np.isfinite(wave).all())
    return finite and not wave.any(), not finite


def span(ref: AudioRef) -> float | None:
    """Seconds of the part that an item uses; None when it lies outside its file."""
    try:
        return audio.seconds(AudioSource(ref))
    except AudioError:
        return None
