"""Errors a user can mend: one line that says what, where and how. The command line exits with 2."""

from __future__ import annotations


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
