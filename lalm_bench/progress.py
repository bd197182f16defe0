"""What a user sees while a run works: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY_S = 30.0
_DRAW_EVERY_S = 0.1


class Progress:
    """Counts answers, errors and accuracy so far; `tick` costs well under a microsecond."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.errors = 0
        self.scored = 0
        self.correct = 0.0

    def tick(self, correct: float | None, error: bool) -> None:
        """Note one answer; `correct` is None when it cannot be scored alone."""
        self.done += 1
        self.errors += error
        if correct is not None:
            self.scored += 1
            self.correct += correct

    def status(self) -> str:
        """Accuracy so far and errors, for people."""
        text = f"accuracy {self.correct / self.scored:.3f}" if self.scored else ""
        return f"{text}  errors {self.errors}" if self.errors else text


def wanted(setting: object) -> bool:
    """Whether the bar is drawn: true, false, or auto (stderr is a terminal)."""
    return sys.stderr.isatty() if setting == "auto" else bool(setting)


@contextmanager
def show(total: int, already: int, bar: bool, name: str) -> Iterator[Progress]:
    """Display while the body runs; `already` answers were there before it."""
    progress = Progress(total)
    with _bar(progress, name) if bar else _lines(progress, name, already):
        yield progress


@contextmanager
def _bar(progress: Progress, name: str) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=progress.total, rate=0.0, status="")
        began = time.monotonic()

        def draw() -> None:
            rate = progress.done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=progress.done, rate=rate, status=progress.status())

        with _every(_DRAW_EVERY_S, draw):
            yield
        draw()


@contextmanager
def _lines(progress: Progress, name: str, already: int) -> Iterator[None]:
    began = time.monotonic()
    if already:
        sys.stderr.write(f"{name}: {already} answers on disk, {progress.total} to ask\n")

    def line() -> None:
        rate = progress.done / max(time.monotonic() - began, 1e-9)
        sys.stderr.write(
            f"{name}: {progress.done}/{progress.total}  {rate:.1f}/s  {progress.status()}\n"
        )
        sys.stderr.flush()

    with _every(_LINE_EVERY_S, line):
        yield
    line()


@contextmanager
def _every(seconds: float, draw: Callable[[], None]) -> Iterator[None]:
    """Call `draw` from a thread, so that the loop that answers never pays for it."""
    import threading

    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(seconds):
            draw()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
