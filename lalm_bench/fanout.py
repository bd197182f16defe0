"""Many runs on the devices of one machine: a queue of cells, one process each, nothing shared.

A cell is a whole `python -m lalm_bench`, so that its CUDA state is clean, its memory is freed when
it ends, and its failure is its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from lalm_bench.errors import ConfigError

_POLL_S = 0.05
_GRACE_S = 30.0
_COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Slot:
    """Room for one process. `visible` is what its CUDA_VISIBLE_DEVICES says."""

    device: str
    visible: str


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Parameters
    ----------
    number : int
    name : str
        For people: the settings that tell it from the other cells.
    arguments : tuple of str
        What follows `python -m lalm_bench`.
    log : Path
        Where its output goes.
    """

    number: int
    name: str
    arguments: tuple[str, ...]
    log: Path


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: its exit code (negative: the signal that ended it) and seconds."""

    cell: Cell
    device: str
    code: int
    seconds: float


@dataclass(frozen=True)
class _Running:
    cell: Cell
    slot: Slot
    process: subprocess.Popen[bytes]
    began: float


def slots(devices: Any, per_device: int = 1) -> list[Slot]:
    """Where processes may run.

    Parameters
    ----------
    devices : str, int or list of int
        `auto`: all devices that CUDA shows to this process; a number: the first so many; a list:
        these, counted as CUDA shows them; `cpu`: the processor, no device being visible.
    per_device : int
        Processes on one device at a time.

    Raises
    ------
    ConfigError
        There are no such devices.
    """
    setting = f"hydra.launcher.devices={devices}"
    if type(per_device) is not int or per_device < 1:
        raise ConfigError(
            f"hydra.launcher.per_device={per_device!r} must be a positive whole number"
        )
    if devices == "cpu":
        return [Slot("cpu", "")] * per_device
    listed = list(devices) if isinstance(devices, list | tuple) else None
    if not (
        devices == "auto"
        or (type(devices) is int and devices > 0)
        or (listed and len(set(listed)) == len(listed) and all(type(d) is int for d in listed))
    ):
        raise ConfigError(f"{setting} must be auto, a number, a list such as [0,1], or cpu")
    shown = _shown()
    if not shown:
        raise ConfigError(
            f"{setting}: torch sees no CUDA device here; see nvidia-smi and CUDA_VISIBLE_DEVICES, "
            "or use the processor: hydra.launcher.devices=cpu hydra.launcher.per_device=2"
        )
    numbers = listed or range(len(shown) if devices == "auto" else devices)
    if absent := [n for n in numbers if not 0 <= n < len(shown)]:
        raise ConfigError(f"{setting}: there is no device {absent[0]}, CUDA shows {len(shown)}")
    # Round by round, so that every device gets its first process before one gets its second.
    return [Slot(f"cuda:{n}", shown[n]) for _ in range(per_device) for n in numbers]


def _shown() -> list[str]:
    """A CUDA_VISIBLE_DEVICES for each visible device; asked of torch, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"torch cannot count CUDA devices here ({last}); mend its installation")
    count = int(done.stdout.split()[-1])
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = mask.split(",") if mask else [str(n) for n in range(count)]
    return [name.strip() for name in names[:count]]


def run(cells: Sequence[Cell], slots: Sequence[Slot]) -> list[Outcome]:
    """Run all cells, at most one a slot at a time; a cell that fails stops no other.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, SIGTERM or SIGHUP: the children were asked to stop, and killed if they did not
        (at once on a second signal).
    """
    waiting, free = deque(cells), deque(slots)
    running: list[_Running] = []
    outcomes: list[Outcome] = []
    with _signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and free:
                    running.append(_start(waiting.popleft(), free.popleft()))
                time.sleep(_POLL_S)
                for one in [r for r in running if r.process.poll() is not None]:
                    running.remove(one)
                    free.append(one.slot)
                    outcomes.append(_ended(one, len(outcomes) + 1, len(cells)))
        finally:
            _stop(running, received)
    if received:
        sys.stderr.write(f"{len(outcomes)} of {len(cells)} cells had ended\n")
        raise KeyboardInterrupt
    return sorted(outcomes, key=lambda outcome: outcome.cell.number)


def _start(cell: Cell, slot: Slot) -> _Running:
    from lalm_bench import cli

    environment = os.environ | {"CUDA_VISIBLE_DEVICES": slot.visible, "PYTHONUNBUFFERED": "1"}
    if not cli.SHOW_EVERYTHING:  # `cli.main` sets it for its own process only
        environment.pop("HYDRA_FULL_ERROR", None)
    cell.log.parent.mkdir(parents=True, exist_ok=True)
    with open(cell.log, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lalm_bench", *cell.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a Ctrl-C reaches it once, through `_stop`
        )
    sys.stderr.write(f"cell {cell.number} on {slot.device}: {cell.name}\n")
    return _Running(cell, slot, process, time.monotonic())


def _ended(one: _Running, count: int, total: int) -> Outcome:
    outcome = Outcome(
        one.cell, one.slot.device, one.process.returncode, time.monotonic() - one.began
    )
    sys.stderr.write(
        f"cell {one.cell.number} {_status(outcome)} after {outcome.seconds:.1f} s "
        f"({count}/{total})\n"
    )
    return outcome


def _stop(running: Sequence[_Running], received: Sequence[int]) -> None:
    """Ask what still runs to stop; kill it after a while, or at once on a second signal."""
    for one in running:
        one.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _GRACE_S
    while any(r.process.poll() is None for r in running):
        if len(received) > 1 or time.monotonic() > deadline:
            for one in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.process.pid, signal.SIGKILL)
                one.process.wait()
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that ask for an end, noted rather than raised: no child is forgotten half-started."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {n: signal.getsignal(n) for n in wanted if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def table(outcomes: Sequence[Outcome]) -> str:
    """One line a cell with its log, then the last words of each that failed."""
    head = ("cell", "device", "status", "seconds", "settings", "log")
    rows = [
        (
            *(str(o.cell.number), o.device, _status(o), f"{o.seconds:.1f}"),
            *(o.cell.name, str(o.cell.log)),
        )
        for o in outcomes
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    lines += [f"cell {o.cell.number}: {_last_words(o.cell.log)}" for o in outcomes if o.code]
    return "\n".join(lines) + "\n"


def _status(outcome: Outcome) -> str:
    code = outcome.code
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"failed ({code})" if code else "done"


def _last_words(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
