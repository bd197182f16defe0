"""`python -m lalm_bench.report RUN... | SWEEP | FOLDER`: a static folder to look at and listen."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lalm_bench.errors import ConfigError, exit_code

FAILED = 1
_ABOUT = """
RUN is a run's folder, its fingerprint, or the fingerprint's first digits; SWEEP is multirun/<time>
or a study's folder; a FOLDER that holds runs, as outputs/<task>, stands for all of them. Runs are
compared with their baselines, which are found beside them.

DIR/index.html opens from disk. The page asks nothing of any server, and no model is loaded.
DIR/report.html is the same in one file, as far as samples and clips find room in it. It can be
sent by mail, and it is what --mlflow logs, with the tables, as a run of its own: MLflow opens it
below Artifacts. A report of the same title takes the place of the one before.

exit codes: 0 done, 1 written but not logged, 2 bad input
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this package; returns the exit status."""
    args = _parser().parse_args(arguments)
    return exit_code(lambda: _report(args), "nothing was written")


def _report(args: argparse.Namespace) -> int:
    # Only now: --help needs none of it.
    from lalm_bench import cli  # noqa: F401 - resolvers that a run's settings may use
    from lalm_bench.report import site, sources

    began = time.monotonic()
    found = sources.find(args.what, args.outputs)
    folder = args.out or found.home
    title = args.title or _title(args.what)
    log = _log(args, [run.folder for run in found.runs]) if args.mlflow or args.uri else None
    wish = site.Wish(folder, title, args.clips, args.copy_audio, args.seed)
    for note in site.write(found, wish):
        sys.stderr.write(f"note: {note}\n")
    took = time.monotonic() - began
    sys.stdout.write(f"{len(found.runs)} runs, {took:.1f} s: {folder / 'index.html'}\n")
    return 0 if log is None else log(folder, title)


def _log(args: argparse.Namespace, runs: Sequence[Path]) -> Callable[[Path, str], int]:
    """Find the store before the report is made; what logs it then and returns the exit status."""
    from lalm_bench.report.sources import CELLS
    from lalm_bench.tracking.connection import Away
    from lalm_bench.tracking.reports import Shelf

    if not args.title and len(args.what) > 1:
        raise ConfigError("MLflow finds a report again by its title: give this one --title TITLE")
    only = Path(args.what[0])
    sweep = only.resolve().name if len(args.what) == 1 and (only / CELLS).is_dir() else ""
    shelf = Shelf.of(runs, args.uri)

    def log(folder: Path, title: str) -> int:
        try:
            run = shelf.put(folder, title, sweep)
        except Away as error:
            again = "the report is written but not logged; the same command tries again"
            sys.stderr.write(f"{shelf.name} did not take it ({error}): {again}\n")
            return FAILED
        sys.stdout.write(f"{shelf.name}: report.html of run {run}\n")
        return 0

    return log


def _title(what: Sequence[str]) -> str:
    return Path(what[0]).name if len(what) == 1 else "Report"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.report",
        description="Make a static report of finished runs: tables, figures, samples to listen to.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", metavar="RUN|SWEEP|FOLDER", nargs="+", help="what the report is about")
    add("--out", type=Path, metavar="DIR", help="default: report/ in what is named, or here")
    add("--title", help="heading of the report")
    add(
        "--clips",
        type=_clips,
        default=60,
        metavar="N|all|none",
        help="samples whose clips are rendered as they were heard (default: 60)",
    )
    add("--copy-audio", action="store_true", help="copy all recordings, so that DIR can be moved")
    add("--mlflow", action="store_true", help="log the report to where the runs are tracked, too")
    add("--uri", metavar="URI", help="log it to this MLflow store instead")
    add("--seed", type=int, default=7, help="draws the samples that are rendered")
    add("--outputs", type=Path, default=Path("outputs"), help="where runs lie (default: outputs)")
    return parser


def _clips(text: str) -> int | None:
    """None for all."""
    if text in ("all", "none"):
        return None if text == "all" else 0
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, all or none")
    return value


if __name__ == "__main__":
    sys.exit(main())
