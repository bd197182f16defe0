"""Reaching an MLflow store, or finding out quickly that it is away."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from lalm_bench.errors import ConfigError, one_line
from lalm_bench.provenance import public

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
# A server is greeted once and briefly; one that answered is given more patience, so that a busy one
# is not taken for a dead one. What the user's environment says comes first.
_GREETING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "6"}
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It would print the URI of a server with the password in it.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


_Found = TypeVar("_Found")


class Away(Exception):  # noqa: N818 - a state of the server, not an error of the input
    """The store does not answer, or refuses; the message is one line without secrets."""


@dataclass(frozen=True)
class Connection:
    """A store that has just answered, and the id of the experiment in it."""

    client: MlflowClient
    experiment_id: str


def connect(uri: str, experiment: str, artifacts: str) -> Connection:
    """Greet the store; make it and the experiment where they are missing.

    A local store is made by one process at a time: several that create one sqlite file at once
    leave it broken.

    Parameters
    ----------
    uri : str
        As MLflow takes it.
    experiment : str
        Its name.
    artifacts : str
        Folder for the artifacts of a local store.

    Raises
    ------
    ConfigError
        MLflow knows no such kind of store, a local one cannot be made, or the experiment was
        deleted.
    Away
        A server does not answer, or answers with an error.
    """
    if not uri.startswith(_SQLITE):
        return _greet(lambda: _open(uri, experiment, None), uri)
    database = Path(uri.removeprefix(_SQLITE))
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(database.with_name(database.name + ".lock")):
            return _open(uri, experiment, Path(artifacts).absolute().as_uri())
    except _troubles(OSError) as error:
        raise _wrong(uri, error) from error


def look(uri: str, experiment: str, artifacts: str) -> Connection | None:
    """As `connect`, but make nothing; None where the store or the experiment is missing."""
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        return None
    return _greet(lambda: _there(uri, experiment), uri)


def _greet(opening: Callable[[], _Found], uri: str) -> _Found:
    """Open the store, without waiting long for one that is away."""
    remote = uri.startswith(("http://", "https://"))
    try:
        with _environment(_GREETING):
            return opening()
    except ImportError as error:
        raise _wrong(uri, error) from error
    except _troubles() as error:
        if remote or _is_database_error(error):
            raise Away(told(error)) from error
        raise _wrong(uri, error) from error


def _open(uri: str, experiment: str, artifacts: str | None) -> Connection:
    from mlflow.exceptions import MlflowException

    found = _there(uri, experiment)
    if found is not None:
        return found
    client = _client(uri)
    try:
        return Connection(client, str(client.create_experiment(experiment, artifacts)))
    except MlflowException:
        found = _there(uri, experiment)  # another process was faster
        if found is None:
            raise
        return found


def _client(uri: str) -> MlflowClient:
    import mlflow

    for name, value in _QUIET.items():
        os.environ[name] = value
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow.MlflowClient(uri)


def _there(uri: str, experiment: str) -> Connection | None:
    client = _client(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment={experiment} was deleted from {public(uri)}: restore it "
            f"(mlflow experiments restore -x {found.experiment_id}), or give another name"
        )
    return Connection(client, str(found.experiment_id))


def _troubles(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What MLflow raises when a store does not do what it should, and `more`."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError, *more


@contextmanager
def sending() -> Iterator[None]:
    """Turn whatever keeps MLflow from taking something into `Away`."""
    try:
        with _environment(_PATIENCE):
            yield
    except _troubles(OSError) as error:
        raise Away(told(error)) from error


def _is_database_error(error: BaseException) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, SQLAlchemyError) or isinstance(error.__cause__, SQLAlchemyError)


def _wrong(uri: str, error: BaseException) -> ConfigError:
    return ConfigError(
        f"tracking.uri={public(uri)}: {told(error)}; use sqlite:///FILE, http://HOST:PORT, or "
        "tracking=none"
    )


def told(error: BaseException) -> str:
    """The innermost reason on one line, without passwords, at most 200 characters."""
    text = public(one_line(error)) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-95:]}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """MLflow reads its patience from the environment at every request."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
