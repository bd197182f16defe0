"""A report in MLflow: a run of its own, found again by the report's title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lalm_bench.errors import ConfigError
from lalm_bench.provenance import public
from lalm_bench.tracking.connection import connect, look, sending
from lalm_bench.tracking.mlflow import MlflowTracking
from lalm_bench.tracking.record import Record

TAG = "report"
# What MLflow shows by itself: the report in one file, and its tables. The folder stays where it is.
_PAGE, _TABLES = "report.html", "tables"
_NOTE = "Tables, figures and samples to listen to: open `report.html` below Artifacts."


@dataclass(frozen=True)
class Shelf:
    """The MLflow experiment that a report goes to.

    Parameters
    ----------
    tracking : MlflowTracking
        Where it is.
    """

    tracking: MlflowTracking

    @classmethod
    def of(cls, runs: Sequence[Path], uri: str | None = None) -> Shelf:
        """The experiment that runs are tracked in, or one of its name in the store at `uri`.

        Parameters
        ----------
        runs : sequence of Path
            Run folders; the first that is tracked counts.
        uri : str, optional
            Needed where no run is tracked, or where the tracked URI has a password, which no run
            folder holds.

        Raises
        ------
        ConfigError
            No run is tracked and no URI is given, or the tracked store is none that is here.
        """
        tracking = next(_trackers(runs), None)
        if tracking is None and not uri:
            raise ConfigError("none of these runs is tracked in MLflow: name a store with --uri")
        tracking = tracking or MlflowTracking()
        if uri:
            return cls(replace(tracking, uri=uri))
        local = tracking.uri.startswith("sqlite:///")
        if local and look(tracking.uri, tracking.experiment, tracking.artifacts) is None:
            raise ConfigError(
                f"{public(tracking.uri)}: no MLflow store of experiment {tracking.experiment}; "
                "start this where the runs were started, or name the store with --uri"
            )
        return cls(tracking)

    @property
    def name(self) -> str:
        """The store and the experiment, for people; without a password."""
        return f"MLflow at {public(self.tracking.uri)}, experiment {self.tracking.experiment}"

    def put(self, folder: Path, title: str, sweep: str = "") -> str:
        """Log a report, in the place of an earlier one of its title; id of its MLflow run.

        Parameters
        ----------
        folder : Path
            Of the report.
        title : str
        sweep : str, optional
            Name of the sweep that it is about: the sweep's runs have the same tag.

        Raises
        ------
        ConfigError
            MLflow knows no such kind of store, or the experiment was deleted.
        Away
            A server does not answer, or could not take it.
        """
        where = self.tracking
        store = connect(where.uri, where.experiment, where.artifacts)
        with sending():
            # Not by the title in the query: a filter cannot quote every text.
            known = store.client.search_runs([store.experiment_id], f"tags.{TAG} LIKE '%'")
            run = next((r for r in known if r.data.tags.get(TAG) == title), None)
            if run is None:
                tags = {TAG: title, "mlflow.note.content": _NOTE} | (
                    {"sweep": sweep} if sweep else {}
                )
                run = store.client.create_run(
                    store.experiment_id, tags=tags, run_name=f"report {title}"
                )
            run_id = str(run.info.run_id)
            store.client.log_artifact(run_id, str(folder / _PAGE))
            store.client.log_artifacts(run_id, str(folder / _TABLES), _TABLES)
            store.client.set_terminated(run_id, "FINISHED")
        return run_id


def _trackers(runs: Sequence[Path]) -> Iterator[MlflowTracking]:
    for folder in runs:
        record = Record.read(folder)
        tracking = None if record is None else record.tracking()
        if isinstance(tracking, MlflowTracking):
            yield tracking
