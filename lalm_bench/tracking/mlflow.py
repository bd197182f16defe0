"""One MLflow run per fingerprint, resumed by id."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from lalm_bench.errors import ConfigError, one_line
from lalm_bench.provenance import public
from lalm_bench.store import read_json, write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lalm_bench.build import Experiment
    from lalm_bench.tracking.base import Log, Results

_PARAMS_A_CALL = 100  # MLflow's limit for one batch
_PARAM_CHARS = 6000
_TABLE_ROWS = 5000


@dataclass(frozen=True)
class MlflowTracking:
    """Tracks into any MLflow store.

    Parameters
    ----------
    uri : str
        `sqlite:///file`, `http://host:port`, or whatever MLflow accepts.
    experiment : str
        Experiment name; created when missing.
    artifacts : str
        Artifact folder of a local (sqlite) store; a server uses its own.
    sweep : str, optional
        Tag that the runs of a sweep share.
    """

    name: str = "mlflow"
    uri: str = "sqlite:///outputs/mlflow.db"
    experiment: str = "lalm_bench"
    artifacts: str = "outputs/mlruns"
    sweep: str | None = None

    @contextmanager
    def track(self, experiment: Experiment) -> Iterator[Log]:
        """Open or resume the run; FINISHED at the end, FAILED with the traceback on an error."""
        client, run_id = self._open(experiment)
        try:
            yield lambda results: _log(client, run_id, results)
        except BaseException as error:
            client.log_text(run_id, public(traceback.format_exc()), "traceback.txt")
            stopped = isinstance(error, KeyboardInterrupt)
            client.set_terminated(run_id, "KILLED" if stopped else "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")

    def _open(self, experiment: Experiment) -> tuple[MlflowClient, str]:
        client, experiment_id = self._connect()
        folder = experiment.folder
        note = read_json(folder / "mlflow.json") or {}
        run_id = note.get("run_id") if note.get("uri") == public(self.uri) else None
        run_id = _existing(client, run_id) or _find(client, experiment_id, experiment.fingerprint)
        tags = {
            "fingerprint": experiment.fingerprint,
            "folder": str(folder),
            "task": str(experiment.config["task"]["name"]),
            "model": str(experiment.config["model"]["name"]),
            "condition": experiment.condition,
            **({"sweep": self.sweep} if self.sweep else {}),
        }
        if run_id is None:
            run_name = f"{tags['task']} {tags['model']} {tags['condition']}"
            run = client.create_run(experiment_id, tags=tags, run_name=run_name)
            run_id = run.info.run_id
            _log_params(client, run_id, experiment.config)
            client.log_dict(run_id, experiment.config, "config.yaml")
        else:
            client.update_run(run_id, status="RUNNING")
            for key, value in tags.items():
                client.set_tag(run_id, key, value)
        write_json(folder / "mlflow.json", {"uri": public(self.uri), "run_id": run_id})
        return client, run_id

    def _connect(self) -> tuple[MlflowClient, str]:
        """Client and experiment id; the local store is created by one process at a time."""
        import mlflow
        from mlflow.exceptions import MlflowException

        _quieten()
        mlflow.set_tracking_uri(self.uri)
        try:
            if not self.uri.startswith("sqlite:///"):
                client = mlflow.MlflowClient(self.uri)
                return client, _experiment_id(client, self.experiment, None)
            database = Path(self.uri.removeprefix("sqlite:///"))
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(database.with_name(database.name + ".lock")):
                client = mlflow.MlflowClient(self.uri)
                place = Path(self.artifacts).absolute().as_uri()
                return client, _experiment_id(client, self.experiment, place)
        except MlflowException as error:
            raise ConfigError(
                f"tracking.uri={public(self.uri)}: {public(one_line(error))}; start the server, "
                "change the URI, or use tracking=none"
            ) from error


def _quieten() -> None:
    import logging

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=artifacts))


def _existing(client: MlflowClient, run_id: str | None) -> str | None:
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return None
    return run_id if run.info.lifecycle_stage == "active" else None


def _find(client: MlflowClient, experiment_id: str, fingerprint: str) -> str | None:
    runs = client.search_runs([experiment_id], f"tags.fingerprint = '{fingerprint}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def flat_params(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `a.b.c` -> text; lists as one text."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flat_params(value, f"{name}.")
        else:
            flat[name] = str(value)[:_PARAM_CHARS]
    return flat


def _log_params(client: MlflowClient, run_id: str, config: dict[str, Any]) -> None:
    from mlflow.entities import Param

    params = [Param(k, v) for k, v in flat_params(config).items() if k.partition(".")[0] != "paths"]
    for start in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run_id, params=params[start : start + _PARAMS_A_CALL])


def _log(client: MlflowClient, run_id: str, results: Results) -> None:
    import time

    import mlflow
    from mlflow.entities import Metric

    from lalm_bench.metrics.multiple_choice import flatten

    columns = [name.removeprefix("by_") for name in results.analysis if name.startswith("by_")]
    numbers = {k: float(v) for k, v in results.values.items() if v is not None}
    numbers |= flatten(results.analysis, columns)
    now = int(time.time() * 1000)
    metrics = [Metric(_metric_name(k), v, now, 0) for k, v in numbers.items()]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    client.set_tag(run_id, "status", results.status)
    for file in results.artifacts:
        client.log_artifact(run_id, str(file), "figures" if file.suffix in (".png", ".svg") else "")
    table = results.decisions.head(_TABLE_ROWS)
    if len(table):
        # log_table appends to an existing table, so a resumed run gets its table as an artifact.
        frame = table.astype(object).where(table.notna(), None)
        content = {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}
        client.log_dict(run_id, content, "decisions_table.json")
        client.set_tag(
            run_id,
            mlflow.utils.mlflow_tags.MLFLOW_LOGGED_ARTIFACTS,
            '[{"path": "decisions_table.json", "type": "table"}]',
        )


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits and `_-. :/`; brackets and others become underscores."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
