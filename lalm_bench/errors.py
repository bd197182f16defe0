"""Errors a user can mend: one line that says what, where and how. The command line exits with 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

BAD_INPUT, STOPPED = 2, 130


class BenchError(Exception):
    """Base of all errors that are the input's fault, not the program's."""


class ConfigError(BenchError):
    """A setting is wrong."""


class DataError(BenchError):
    """A dataset is missing, malformed or inconsistent."""


class AudioError(BenchError):
    """A recording cannot be read."""


class ModelError(BenchError):
    """Weights are missing or a model cannot do what is asked."""


class StoreError(BenchError):
    """A run folder is in use or damaged."""


class Busy(StoreError):  # noqa: N818 - a state of the run, which passes
    """Another process works on the same run: wait for it, or leave the run to it."""


class Incomplete(Exception):  # noqa: N818 - a state of the run, not an error of the input
    """Some requests ended in an error; everything else is stored and scored."""


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """The work ended early, at a safe place, because it was asked to: everything is stored.

    `reason` names who asked: a signal such as SIGTERM, or words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def one_line(error: BaseException) -> str:
    """The message on one line, whatever line breaks a library put into it."""
    return " ".join(str(error).split())


def exit_code(work: Callable[[], int], when_stopped: str) -> int:
    """What `work` returns; 2 for bad input and 130 for Ctrl-C, with one line on stderr."""
    try:
        return work()
    except BenchError as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; {when_stopped}\n")
        return STOPPED
