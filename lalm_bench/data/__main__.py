"""`python -m lalm_bench.data VERB ...`: bring data in, look at it, build from it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lalm_bench.data import verbs
from lalm_bench.errors import BenchError

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb: 0 done, 1 a check found errors, 2 bad input, 130 stopped."""
    args = _parser().parse_args(argv)
    verb: Callable[[argparse.Namespace], int] = args.verb
    try:
        return verb(args)
    except (BenchError, HydraException, OmegaConfBaseException) as error:
        from lalm_bench.cli import explain

        print(f"error: {explain(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return verbs.STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.data", description="Bring data in, look at it, build from it."
    )
    add = parser.add_subparsers(required=True, metavar="VERB").add_parser

    fetch = add("fetch", help="download a data set; its licence is shown first")
    fetch.add_argument("name", help="tacos, audiomarathon, or a hub id OWNER/NAME")
    fetch.add_argument("folder", type=Path)
    fetch.add_argument("--revision", help="commit, tag or branch on the hub (default: newest)")
    fetch.add_argument("--include", nargs="+", metavar="PATTERN", help="only these files")
    fetch.add_argument("--dry-run", action="store_true", help="licence, files and size only")
    fetch.add_argument("--skip-audio", action="store_true", help="tacos: captions and tables only")
    fetch.add_argument("--base-url", help="tacos: a mirror")
    fetch.set_defaults(verb=verbs.fetch)

    check = add("check", help="layout, counts, digests, recordings, ids, answers")
    _task(check)
    check.add_argument("--no-audio", action="store_true", help="do not look at recordings")
    check.add_argument("--no-digest", action="store_true", help="read headers only")
    check.add_argument("--decode", action="store_true", help="decode every sample")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the findings there too")
    check.set_defaults(verb=verbs.check)

    stats = add("stats", help="durations, balance of answers, lengths; a figure")
    _task(stats)
    stats.add_argument("--out", type=Path, help="folder (default: outputs/data)")
    stats.set_defaults(verb=verbs.stats)

    segment = add("segment", help="build long recordings from short ones")
    segment.add_argument("name", choices=["tau", "gtzan", "had"])
    segment.add_argument("source", type=Path, help="folder of the short clips")
    segment.add_argument("folder", type=Path, help="new folder; becomes task.root")
    segment.add_argument("--labels", type=Path, help="had: the label file")
    segment.add_argument("--min-s", type=float, help="shortest recording")
    segment.add_argument("--max-s", type=float, help="longest recording")
    segment.add_argument("--min-fake-s", type=float, default=1.0, help="had: default 1.0")
    segment.add_argument("--seed", type=int, default=42)
    segment.add_argument("--rate", type=int, default=16_000, help="Hz")
    segment.set_defaults(verb=verbs.segment)

    manifest = add("manifest", help="question list of the audio faithfulness study")
    manifest.add_argument("name", choices=["sakura", "mmau", "mmar"])
    manifest.add_argument("source", type=Path, help="SAKURA's root; MMAU's JSON; MMAR's JSONL")
    manifest.add_argument("out", type=Path, help="JSONL file to write")
    manifest.set_defaults(verb=verbs.manifest)
    return parser


def _task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a task, as in task=NAME")
    parser.add_argument("overrides", nargs="*", help="task.root=DIR and the like")


if __name__ == "__main__":
    sys.exit(main())
