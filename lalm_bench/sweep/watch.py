"""Waiting for a sweep: one line of progress, and an end that SLURM vouches for."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from lalm_bench import stopping
from lalm_bench.sweep.record import Sweep
from lalm_bench.sweep.slurm import Silent
from lalm_bench.sweep.states import ACTIVE, State, look, summary

_LINE_EVERY_S = 60.0


def wait(sweep: Sweep, poll_s: float) -> list[State]:
    """Return when no job of the sweep runs or waits any more.

    A cluster that does not answer is asked again: its jobs go on meanwhile.

    Raises
    ------
    Stopped
        It was requested (SIGTERM); the jobs go on.
    """
    progress = _Progress()
    states: Sequence[State] = []
    while True:
        try:
            states = look(sweep)
            progress.show(summary(states), [s.detail for s in states if s.word in ACTIVE])
        except Silent as error:
            progress.show(f"SLURM does not answer, still waiting ({error})", [])
            states = []
        if states and not any(state.word in ACTIVE for state in states):
            progress.end()
            return list(states)
        deadline = time.monotonic() + poll_s
        while time.monotonic() < deadline:
            stopping.check()
            time.sleep(min(0.5, poll_s))


class _Progress:
    """One line that is drawn over on a terminal; elsewhere a line when something changed."""

    def __init__(self) -> None:
        self._began = self._shown_at = time.monotonic()
        self._shown = ""
        self._draws = sys.stderr.isatty()

    def show(self, line: str, reasons: Sequence[str]) -> None:
        why = next((r for r in reasons if r and r not in ("Priority", "waits in its job")), "")
        text = f"{line} ({why})" if why else line
        now = time.monotonic()
        if self._draws:
            minutes, seconds = divmod(int(now - self._began), 60)
            sys.stderr.write(f"\r\033[K{minutes}:{seconds:02d}  {text}")
        elif text != self._shown or now - self._shown_at > _LINE_EVERY_S:
            sys.stderr.write(f"{text}\n")
            self._shown, self._shown_at = text, now
        sys.stderr.flush()

    def end(self) -> None:
        if self._draws:
            sys.stderr.write("\n")
