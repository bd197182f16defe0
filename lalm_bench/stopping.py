"""A request to stop at the next safe place: what is in hand is finished and stored first.

A signal handler may only note the request (`request`). Whoever works asks at its safe places,
between batches and between answers, whether there is one (`check`, `requested`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lalm_bench.errors import Stopped

# One request may arrive twice: to the process, and to the group that it belongs to.
_TWICE_S = 1.0

_reasons: list[str] = []


def request(reason: str) -> None:
    """Ask the work of this process to end; the first reason stands.

    Takes no lock and does no input or output, so it may be called from a signal handler and from
    any thread.
    """
    _reasons.append(reason)


def requested() -> str | None:
    """The reason given to the first `request`, or None."""
    return _reasons[0] if _reasons else None


def check() -> None:
    """Return at once when nothing was requested.

    Raises
    ------
    Stopped
        The work was asked to end, and this is a safe place.
    """
    if _reasons:
        raise Stopped(_reasons[0])


def forget() -> None:
    """Go on as if nothing had been requested: the process is not to end after all."""
    _reasons.clear()


@contextmanager
def listening(*signals: signal.Signals) -> Iterator[None]:
    """Turn signals into requests while the body runs; the handlers before are restored after it.

    A second signal, whichever, more than a second after the first, does not wait for a safe place:
    `Stopped` is raised where the main thread is, and what is in hand is lost.

    Parameters
    ----------
    signals : Signals
        E.g. SIGTERM, and the signal by which a scheduler announces a preemption.

    Raises
    ------
    ValueError
        Not in the main thread, which alone may have signal handlers.
    """
    first: float | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        request(signal.Signals(number).name)
        if first is None:
            first = time.monotonic()
        elif time.monotonic() - first > _TWICE_S:
            raise Stopped(_reasons[0])

    before = {}
    try:
        for number in signals:
            before[number] = signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            # None: a handler of C code, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
