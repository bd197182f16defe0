"""One run folder into one MLflow run: the same folder gives the same run, however often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from lalm_bench.provenance import public
from lalm_bench.tracking.connection import Away, Connection, sending
from lalm_bench.tracking.record import joined

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from lalm_bench.tracking.base import Results
    from lalm_bench.tracking.record import Record

# MLflow's limits for one call are 100 params and 1000 of everything.
_PARAMS_A_CALL, _METRICS_A_CALL = 100, 800
_WAIT_S = 60.0
_PAGE = 1000
# The tag that says what was sent: a folder that still looks the same is not sent again.
STAMP = "stamp"
_TABLE = "decisions_table.json"


def begin(store: Connection, record: Record) -> None:
    """Create or continue the run, as RUNNING, with its params and tags.

    Raises
    ------
    Away
        The store could not take it.
    """
    with _alone(record), sending():
        run, params, tags = _identified(store, record, find(store, record.fingerprint), {STAMP: ""})
        _log(store, run, params=params, tags=tags)
        if run.info.status != "RUNNING":
            store.client.update_run(run.info.run_id, status="RUNNING")


def finish(
    store: Connection,
    record: Record,
    results: Sequence[Results] = (),
    failed: tuple[str, str] | None = None,
) -> bool:
    """Send all that the folder holds, and how the run ended, unless the store has it already.

    Parameters
    ----------
    store : Connection
    record : Record
    results : sequence of Results
        Numbers that lie in no file of the folder.
    failed : tuple of str, optional
        FAILED or KILLED, and a traceback, where the folder does not have them yet.

    Returns
    -------
    bool
        Whether there was something to send.

    Raises
    ------
    Away
        The store could not take it.
    """
    with _alone(record), sending():
        stamp = "" if failed else record.stamp()
        there = find(store, record.fingerprint)
        if there is not None and not results and not failed and is_told(there, record, stamp):
            return False
        run, params, tags = _identified(store, record, there, {})
        tags |= _kept(store, record, run, failed)
        # The stamp last, so that a run whose sending broke off is sent again.
        _log(store, run, _measured(record, results), params, tags | {STAMP: stamp})
        _ended(store, record, run, failed[0] if failed else record.ended)
    return True


def is_told(run: Run, record: Record, stamp: str) -> bool:
    """Whether the run in the store is what the folder (with this stamp) says."""
    sweeps = set(joined(run.data.tags.get("sweep")))
    return (
        run.data.tags.get(STAMP) == stamp
        and run.info.status == record.ended
        and sweeps.issuperset(record.sweeps())
    )


def find(store: Connection, fingerprint: str) -> Run | None:
    """The run of this fingerprint, or None."""
    query = f"tags.fingerprint = '{fingerprint}'"
    return next(iter(store.client.search_runs([store.experiment_id], query, max_results=1)), None)


def index(store: Connection, query: str = "") -> dict[str, Run]:
    """All runs of the experiment by fingerprint; of several the one that `find` finds.

    Raises
    ------
    Away
        The store cannot be searched.
    """
    found: dict[str, Run] = {}
    token = None
    with sending():
        while True:
            page = store.client.search_runs(
                [store.experiment_id], query, max_results=_PAGE, page_token=token
            )
            for run in page:
                found.setdefault(run.data.tags.get("fingerprint", ""), run)
            token = page.token
            if not token:
                return found


@contextmanager
def _alone(record: Record) -> Iterator[None]:
    """One process at a time, so that no fingerprint gets two runs."""
    lock = FileLock(record.folder / ".mlflow.lock")
    try:
        lock.acquire(timeout=_WAIT_S)
    except Timeout:
        raise Away(f"another process has been sending {record.folder} for {_WAIT_S} s") from None
    try:
        yield
    finally:
        lock.release()


def _identified(
    store: Connection, record: Record, run: Run | None, more: dict[str, str]
) -> tuple[Run, dict[str, str], dict[str, str]]:
    """The run, created where it is missing, and the params and tags that it lacks."""
    tags = record.tags() | more
    if run is None:
        started = record.moment("started")
        run = store.client.create_run(store.experiment_id, started, tags, record.name)
        changed = {}
    else:
        if sweeps := joined(run.data.tags.get("sweep"), tags.get("sweep")):
            tags["sweep"] = ",".join(sweeps)
        if run.data.tags.get("error"):
            tags.setdefault("error", "")  # it has been mended
        changed = {k: v for k, v in tags.items() if run.data.tags.get(k) != v}
    record.noted(run_id=run.info.run_id, sweep=tags.get("sweep"))
    # A param never changes in MLflow; what is there was sent by the same settings.
    missing = {k: v for k, v in record.params().items() if k not in run.data.params}
    return run, missing, changed


def _log(
    store: Connection,
    run: Run,
    metrics: Sequence[Metric] = (),
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """In as few calls as MLflow takes; the tags with the last."""
    from mlflow.entities import Param, RunTag

    lacking = [Param(k, v) for k, v in (params or {}).items()]
    numbers = list(metrics)
    while len(lacking) > _PARAMS_A_CALL or len(numbers) > _METRICS_A_CALL:
        now = (numbers[:_METRICS_A_CALL], lacking[:_PARAMS_A_CALL])
        store.client.log_batch(run.info.run_id, metrics=now[0], params=now[1])
        numbers, lacking = numbers[_METRICS_A_CALL:], lacking[_PARAMS_A_CALL:]
    last = [RunTag(k, v) for k, v in (tags or {}).items()]
    store.client.log_batch(run.info.run_id, metrics=numbers, params=lacking, tags=last)


def _measured(record: Record, results: Sequence[Results]) -> list[Metric]:
    from mlflow.entities import Metric

    # The time of the run, not of the sending: sent twice, a point is still one point.
    moment = record.moment("finished") or record.moment("started") or 0
    return [Metric(k, v, moment, 0) for k, v in record.metrics(results).items()]


def _kept(
    store: Connection, record: Record, run: Run, failed: tuple[str, str] | None
) -> dict[str, str]:
    """Artifacts: what the folder holds. The tag that makes MLflow show the table."""
    client, run_id = store.client, run.info.run_id
    client.log_dict(run_id, record.config, "config.yaml")
    for file in record.files():
        if failed and file == record.folder / "run.json":
            continue  # it does not know of the failure yet
        inside = file.parent.relative_to(record.folder)
        client.log_artifact(run_id, str(file), "" if inside.name == "" else inside.as_posix())
    if failed:
        client.log_text(run_id, public(failed[1]), "traceback.txt")
    table = record.table()
    if not table:
        return {}
    # log_table appends to an existing table, so a resumed run gets its table as an artifact.
    client.log_dict(run_id, table, _TABLE)
    return {"mlflow.loggedArtifacts": f'[{{"path": "{_TABLE}", "type": "table"}}]'}


def _ended(store: Connection, record: Record, run: Run, status: str) -> None:
    if status == "RUNNING":
        store.client.update_run(run.info.run_id, status=status)
    else:
        store.client.set_terminated(run.info.run_id, status, record.moment("finished"))
