"""Parts of one run that several processes ask at the same time, in one folder.

Every shard has its own lock, answers and state (`.lock.2-of-4`, `responses.2-of-4.jsonl`,
`run.2-of-4.json`), so no two processes write one file; `run.json` belongs to whoever holds the
folder's own lock: a shard for the moments in which it begins and ends, and the last one for as long
as it scores the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from platform import node
from typing import Any

from lalm_bench import provenance
from lalm_bench.build import Experiment
from lalm_bench.errors import Busy, ConfigError, Stopped
from lalm_bench.preflight import Plan
from lalm_bench.randomness import derive
from lalm_bench.store import ResponseLog, RunFolder, read_json
from lalm_bench.types import Json, Sample

# States of a shard besides those of a run: all its requests were asked.
ASKED = "asked"
# Beginning shards hold the folder one after another, each for some milliseconds.
_BEGINNING_S = 10.0
_SHOWN = 8


@dataclass(frozen=True)
class Shard:
    """The items whose ids fall to `number` (from 0) of `of`."""

    number: int
    of: int

    @property
    def name(self) -> str:
        """As it stands in the names of files."""
        return f"{self.number}-of-{self.of}"

    def holds(self, item: str) -> bool:
        """Whether the item of this id is asked here."""
        return _place(item, self.of) == self.number


def _place(item: str, of: int) -> int:
    return derive(0, item, "shard") % of


def split(experiment: Experiment) -> tuple[Experiment, Shard | None]:
    """The experiment as its unsplit run would be recorded, and the shard that it asks for.

    Raises
    ------
    ConfigError
        The settings contradict each other, or the model's answers depend on their order.
    """
    shards, number = experiment.config["shards"], experiment.config["shard"]
    if type(shards) is not int or shards < 1:
        raise ConfigError(f"shards={shards!r} must be a positive whole number")
    if number is None and shards > 1:
        every = ",".join(map(str, range(shards))) if shards <= _SHOWN else f"range({shards})"
        raise ConfigError(
            f"shards={shards} needs the number of the shard to ask: -m shards={shards} "
            f"'shard={every}', or hydra/launcher=slurm, which starts all of them"
        )
    if number is not None and (type(number) is not int or not 0 <= number < shards):
        raise ConfigError(f"shard={number!r} must be a whole number from 0 to {shards - 1}")
    whole = replace(experiment, config={**experiment.config, "shards": 1, "shard": None})
    if shards == 1 or number is None:
        return whole, None
    if experiment.model.sequential:
        raise ConfigError(
            f"shards={shards}: an answer of model={experiment.model.name} depends on all answers "
            "before it, so its run cannot be split; leave out shards and shard"
        )
    return whole, Shard(number, shards)


@contextmanager
def begun(folder: Path, shard: Shard, begin: Callable[[RunFolder], None]) -> Iterator[RunFolder]:
    """Hold one shard of a run, beside others; when its asking fails, `run.json` says so.

    Parameters
    ----------
    folder : Path
    shard : Shard
    begin : callable
        Writes `run.json`.

    Raises
    ------
    Busy
        This shard, or the whole run, is another process's.
    """
    with ExitStack() as stack:
        with RunFolder(folder, wait=_BEGINNING_S, alone=False) as whole:
            part = stack.enter_context(RunFolder(folder, shard.name))
            begin(whole)
            part.save_state(
                status="running", started=provenance.now(), finished=None, error=None, host=node()
            )
            whole.save_state(shards=standing(folder, shard.of)["shards"])
        try:
            yield part
        except BaseException:
            if part.state().get("status") != ASKED:
                _tell(folder, shard.of)
            raise


def _tell(folder: Path, of: int) -> None:
    with suppress(Busy, Stopped), RunFolder(folder, wait=_BEGINNING_S, alone=False) as whole:
        whole.save_state(**standing(folder, of))


def answers(folder: Path, own: str = "responses.jsonl") -> list[Path]:
    """Files of answers to the run's requests, without the `own` one."""
    return sorted(p for p in folder.glob("responses*.jsonl") if p.name != own)


def standing(folder: Path, of: int) -> dict[str, Any]:
    """What `run.json` should say of a run whose shards are not all done: status, error, shards."""
    states = {number: _state(folder, Shard(number, of)) for number in range(of)}
    asked = [Shard(n, of).name for n, state in states.items() if state.get("status") == ASKED]
    for status in ("failed", "stopped"):
        for number, state in states.items():
            if state.get("status") == status:
                error = f"shard {Shard(number, of).name}: {state.get('error')}"
                return {"status": status, "error": error, "shards": asked}
    return {"status": "running", "error": None, "shards": asked}


def _state(folder: Path, shard: Shard) -> dict[str, Any]:
    return read_json(RunFolder(folder, shard.name).file("run.json")) or {}


def _asked(folder: Path) -> list[Shard]:
    """Shards of the run that were asked entirely, of whatever number of shards."""
    found = []
    for file in sorted(folder.glob("run.*-of-*.json")):
        number, _, of = file.name.removeprefix("run.").removesuffix(".json").partition("-of-")
        if (read_json(file) or {}).get("status") == ASKED:
            found.append(Shard(int(number), int(of)))
    return found


def lacking(folder: Path, samples: Iterable[Sample], of: int) -> list[int]:
    """Numbers of the shards, out of `of`, with items that no shard says it has asked."""
    asked: dict[int, set[int]] = {}
    for shard in _asked(folder):
        asked.setdefault(shard.of, set()).add(shard.number)
    return sorted(
        {
            _place(sample.id, of)
            for sample in samples
            if not any(_place(sample.id, parts) in done for parts, done in asked.items())
        }
    )


def unasked(folder: Path, plan: Plan, of: int) -> list[int]:
    """The same by the answers themselves; follows the steps of `plan` as far as they lead.

    An item is asked when each of its requests was answered or ended in an error.
    """
    log = ResponseLog(folder / "responses.jsonl", answers(folder))
    try:
        with log.lookup() as answer:
            while plan.advance(answer):
                pass
        return sorted(
            {
                _place(sample.id, of)
                for sample, asked in zip(plan.samples, plan.asked, strict=True)
                if not all(log.answered(key) or log.failed(key) for key, _ in asked)
            }
        )
    finally:
        log.close()


def timing(folder: Path) -> dict[str, Json]:
    """Seconds spent asking, in all shards together, and what each of them reported."""
    own = {shard.name: _state(folder, shard)["timing"] for shard in _asked(folder)}
    return {"asking_s": sum(t["asking_s"] for t in own.values()), "shards": {**own}}
