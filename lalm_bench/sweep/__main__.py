"""`python -m lalm_bench.sweep`: submit a sweep and leave; ask, resume, cancel, collect later."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lalm_bench import cli
from lalm_bench.errors import BenchError, ConfigError, Incomplete, one_line

_EXAMPLES = """\
examples
  python -m lalm_bench.sweep submit noise task=sakura model=qwen2_audio,voxtral \\
      intervention=noise intervention.snr_db=20,10,0,-10,-20 hydra.launcher.pack=by_model
  python -m lalm_bench.sweep status noise
  python -m lalm_bench.sweep resume noise hydra.launcher.mem_gb=128
  python -m lalm_bench.sweep collect noise

A sweep is a folder: NAME lies below --multirun, or is a path. Exit codes: 0 all cells done (submit:
queued), 1 not all done, 2 bad input.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known = _parser().parse_args(words) if words[:1] != ["submit"] else None
    try:
        if known is None:
            _submit(words[1:])
            return
        from lalm_bench.sweep import commands

        folder = _folder(known.name, known.multirun)
        options = {k: v for k, v in vars(known).items() if k not in ("verb", "name", "multirun")}
        sys.exit(getattr(commands, known.verb)(folder, **options))
    except BenchError as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        sys.exit(cli.BAD_INPUT)
    except Incomplete as error:
        sys.stderr.write(f"incomplete: {one_line(error)}\n")
        sys.exit(cli.FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; jobs that were sent go on\n")
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m lalm_bench.sweep",
        description="Sweeps on a SLURM cluster that nobody waits for.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("name", metavar="NAME", help="the sweep: its name, or its folder")
        one.add_argument("--multirun", default="multirun", help="where sweeps lie [%(default)s]")
        return one

    submit = verb("submit", "check all cells, queue what is not done, and return")
    submit.add_argument("overrides", nargs="+", help="as after python -m lalm_bench -m")
    status = verb("status", "what became of each cell, from SLURM and the run folders")
    status.add_argument("--wait", action="store_true", help="until no job is left")
    logs = verb("logs", "the end of the jobs' logs: of one cell, or of all that failed")
    logs.add_argument("cell", nargs="?", type=int, metavar="CELL")
    logs.add_argument("--lines", type=int, default=20, help="how many [%(default)s]")
    resume = verb("resume", "send what is not done again")
    resume.add_argument("changes", nargs="*", metavar="hydra.launcher.KEY=VALUE")
    verb("cancel", "end its jobs; what they did stays")
    verb("collect", "its table, paired comparisons and figures, of what is done by now")
    return parser


def _submit(words: Sequence[str]) -> None:
    """The program itself does it, so that everything it understands is understood here.

    Its own parser knows which words are options; ours would guess.
    """
    if not words or words[0].startswith("-") or "=" in words[0] or not words[1:]:
        _parser().parse_args(["submit", *words])
        raise ConfigError("submit: first the sweep's name, then its settings")
    name, rest = words[0], list(words[1:])
    if not name.replace("/", "").strip("."):
        raise ConfigError(f"'{name}' is no name for a sweep")
    where = "${paths.multirun}"
    for i, word in enumerate(rest):
        if word == "--multirun" or word.startswith("--multirun="):
            value = word.partition("=")[2] or (rest[i + 1] if i + 1 < len(rest) else "")
            del rest[i : i + (1 if "=" in word else 2)]
            where = os.path.abspath(value)
            break
    folder = name if "/" in name else f"{where}/{name}"
    launcher = (
        [] if any(w.startswith("hydra/launcher=") for w in rest) else ["hydra/launcher=slurm"]
    )
    own = [*launcher, f"hydra.sweep.dir={folder}", "hydra.launcher.wait=false"]
    sys.argv = ["python -m lalm_bench", "-m", *own, *rest]
    cli.main()


def _folder(name: str, multirun: str) -> Path:
    return Path(name) if "/" in name or Path(name, "sweep.json").exists() else Path(multirun, name)


def changes(words: Sequence[str]) -> dict[str, Any]:
    """`hydra.launcher.KEY=VALUE` as a mapping; ConfigError for anything else."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        prefix, _, name = override.get_key_element().rpartition(".")
        if prefix != "hydra.launcher" or override.is_sweep_override():
            raise ConfigError(
                f"'{override.input_line}': a resumed sweep keeps its cells; only hydra.launcher."
                "KEY=VALUE may change"
            )
        found[name] = override.value()
    return found


if __name__ == "__main__":
    main()
