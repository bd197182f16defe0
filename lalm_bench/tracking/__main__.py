"""`python -m lalm_bench.tracking sync`: make MLflow equal to the run folders."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_bench.errors import ConfigError, DataError, exit_code

if TYPE_CHECKING:
    from lalm_bench.tracking.sync import Outcome

FAILED = 1
_SHOWN = 20
_ABOUT = """
MLflow is rebuilt from the run folders alone: params, metrics, tags, artifacts, how each run ended.
There is one MLflow run for each fingerprint, however often this is called. A run that says it is
running while no process works on it is put right: it becomes failed, with the tag status=killed.

user and password of a server: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
MLFLOW_TRACKING_TOKEN, in the environment.
exit codes: 0 done, 1 some runs were not sent, 2 bad input
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Sync: 0 done, 1 something was not sent, 2 bad input (one line says what), 130 stopped."""
    args = _parser().parse_args(argv)
    return exit_code(
        lambda: _sync(args.outputs, args.uri, args.experiment, args.dry_run),
        "the same command continues where it left off",
    )


def _sync(outputs: Path, uri: str | None, experiment: str, dry: bool) -> int:
    from lalm_bench.provenance import public
    from lalm_bench.tracking.connection import Away, connect, look
    from lalm_bench.tracking.sync import folders, sync
    from lalm_bench.tracking.unsent import Unsent

    if not outputs.is_dir():
        raise DataError(f"--outputs {outputs}: no such folder")
    runs = folders(outputs)
    if not runs:
        raise DataError(
            f"--outputs {outputs}: no run in it (TASK/MODEL/CONDITION/FINGERPRINT/run.json)"
        )
    uri = uri or f"sqlite:///{outputs / 'mlflow.db'}"
    reach = look if dry else connect
    try:
        store = reach(uri, experiment, str(outputs / "mlruns"))
        done = _followed(sync(store, Unsent(outputs, uri, experiment), runs, dry), len(runs))
    except Away as error:
        sys.stderr.write(f"MLflow at {public(uri)} does not answer ({error}); start it again\n")
        return FAILED
    except ConfigError as error:
        raise ConfigError(str(error).replace("tracking.uri=", "--uri ")) from error
    _show(done, f"{'dry run, nothing was done: ' if dry else ''}{public(uri)} {experiment}")
    return FAILED if any(outcome.reason for outcome in done) else 0


def _followed(outcomes: Iterator[Outcome], total: int) -> list[Outcome]:
    """All outcomes, with a line on a terminal that counts them as they come."""
    done = []
    drawn = sys.stderr.isatty()
    for outcome in outcomes:
        done.append(outcome)
        if drawn:
            sys.stderr.write(f"\r{len(done)} of {total} runs")
            sys.stderr.flush()
    if drawn:
        sys.stderr.write("\r\033[K")
    return done


def _show(done: list[Outcome], title: str) -> None:
    """How many runs of each status were sent, known or not sent; and by name what needs a look."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lalm_bench.tracking.sync import AT_WORK, KNOWN, REFUSED, SENT

    counts = Counter((outcome.status, outcome.did) for outcome in done)
    table = Table(title=escape(title), title_justify="left")
    table.add_column("status")
    for name in ("runs", SENT, KNOWN, AT_WORK, REFUSED):
        table.add_column(name, justify="right")
    for status in sorted({outcome.status for outcome in done}):
        row = [counts[status, did] for did in (SENT, KNOWN, AT_WORK, REFUSED)]
        table.add_row(status, *(str(n or "-") for n in (sum(row), *row)))
    Console(soft_wrap=True).print(table)
    notable = [(o, o.reason or "was killed while it ran") for o in done if o.reason or o.dead]
    for outcome, words in notable[:_SHOWN]:
        sys.stdout.write(f"{outcome.folder}: {words}\n")
    if len(notable) > _SHOWN:
        sys.stdout.write(f"... and {len(notable) - _SHOWN} more\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lalm_bench.tracking")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "sync",
        help="make MLflow equal to the run folders",
        description="Make MLflow equal to the run folders.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("--outputs", type=Path, default=Path("outputs"), help="where runs lie (default: outputs)")
    add("--uri", help="an MLflow store (default: sqlite:///OUTPUTS/mlflow.db)")
    add("--experiment", default="lalm_bench", help="its name (default: lalm_bench)")
    add("--dry-run", action="store_true", help="say what would be done, do nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
