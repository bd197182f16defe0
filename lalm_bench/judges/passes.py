"""One judge's pass over one run: what to ask, what was said already, and what it comes to.

A judge is asked as any model is, and its replies are kept as any answers are, so a pass resumes, a
changed rubric or answer asks anew, and a reply is read again whenever its parser changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lalm_bench import progress, stopping
from lalm_bench.identity import Sealer
from lalm_bench.judges.judge import Judge
from lalm_bench.judges.parsers import Values
from lalm_bench.judges.replies import replies
from lalm_bench.judges.rubric import Row
from lalm_bench.preflight import Answered
from lalm_bench.store import ResponseLog
from lalm_bench.types import Message, Model, Request, Text

SECOND = "second"


@dataclass(frozen=True)
class Verdict:
    """What one judge says of one decision.

    Parameters
    ----------
    values : dict
        Field -> number; None where no call said it in the form asked for.
    text : str
        The replies, second ones included.
    asked_again : int
        Calls that needed a second question.
    """

    values: Values
    text: str
    asked_again: int = 0

    @property
    def malformed(self) -> bool:
        """A field is missing."""
        return any(value is None for value in self.values.values())


@dataclass
class Pass:
    """The calls of one judge on the decisions of one run.

    Parameters
    ----------
    judge : Judge
    name : str
        Of the judge in the panel.
    rows : sequence of mapping
        The decisions to ask about.
    """

    judge: Judge
    name: str
    rows: Sequence[Row]
    quoted: int = field(default=0, init=False)
    _spent: dict[str, Mapping[str, float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        model = self.model
        self._sealer = Sealer(model.identity(), {}, model.rate, model.stochastic, self.judge.seed)

    @property
    def model(self) -> Model:
        """Who is asked."""
        return self.judge.models[self.name]

    def standing(self, answer: Answered) -> Iterator[Request]:
        """The last request of each call, as far as the replies on disk lead."""
        rubric = self.judge.rubric
        self.quoted = 0
        for row in self.rows:
            messages, count = rubric.messages(row)
            self.quoted += bool(count)
            for repeat in range(self.judge.repeats):
                first = self._request(row, repeat, messages)
                yield self._second(row, repeat, first, answer) or first

    def _second(self, row: Row, repeat: int, first: Request, answer: Answered) -> Request | None:
        reply = answer(first.key)
        if reply is None:
            return None
        values = self.judge.rubric.read(reply.text, row)
        messages = self.judge.rubric.second(row, reply.text, values)
        return None if messages is None else self._request(row, repeat, messages, SECOND)

    def _request(
        self, row: Row, repeat: int, messages: tuple[Message, ...], step: str = "verdict"
    ) -> Request:
        words = [row.get("variant") or "", f"call={repeat + 1}" if self.judge.repeats > 1 else ""]
        words.append(step if step == SECOND else "")
        return self._sealer.seal(
            Request(
                str(row["id"]),
                messages,
                generation=self.judge.generation(repeat),
                variant=" ".join(word for word in words if word),
            )
        )

    def verdict(self, row: Row, answer: Answered) -> Verdict | None:
        """What was said of one decision; None while a call of it lacks its reply."""
        rubric, judge = self.judge.rubric, self.judge
        calls: list[Values] = []
        texts, again = [], 0
        messages, _ = rubric.messages(row)
        for repeat in range(judge.repeats):
            first = self._request(row, repeat, messages)
            reply = answer(first.key)
            if reply is None:
                return None
            values = rubric.read(reply.text, row)
            texts.append(reply.text)
            self._spent[first.key] = reply.usage or {}
            second = self._second(row, repeat, first, answer)
            if second is not None:
                reply = answer(second.key)
                if reply is None:
                    return None
                self._spent[second.key] = reply.usage or {}
                said = rubric.read_second(reply.text, row)
                values |= {k: v for k, v in said.items() if values.get(k) is None}
                texts.append(reply.text)
                again += 1
            calls.append(values)
        combined = {
            f.name: f.combine([v for call in calls if (v := call[f.name]) is not None], judge.trim)
            for f in rubric.fields
        }
        return Verdict(combined, "\n\n".join(texts), again)

    def spent(self) -> dict[str, float]:
        """Calls and tokens behind the verdicts read so far; equal calls were made once."""
        total = Counter[str]()
        for usage in self._spent.values():
            total.update({k: n for k, n in usage.items() if k.endswith("_tokens")})
        return {"calls": len(self._spent), **total}


def ask(work: Pass, model: Model, log: ResponseLog, bar: bool, load: Callable[[], None]) -> None:
    """Ask until every call has its reply, or ended in an error; each reply is on disk at once.

    Parameters
    ----------
    work : Pass
    model : Model
        Equal to `work.model`.
    log : ResponseLog
    bar : bool
        Draw a progress bar.
    load : callable
        Brings the judge into memory; called only when something is to be asked.

    Raises
    ------
    ModelError
        The judge's server is away, refuses the key or does not know the model.
    Stopped
        It was requested; what came back is stored.
    """
    tried: set[str] = set()
    title = f"{work.judge.name} · {work.name}"
    while True:
        with log.lookup() as answer:
            keys = {request.key for request in work.standing(answer)}
            pending = {key for key in keys if not log.answered(key)} - tried
            if not pending:
                return
            load()
            asked = _pending(work.standing(answer), pending)
            with progress.show(len(pending), len(keys) - len(pending), bar, title) as shown:
                for response in model.answer(asked):
                    log.append(response)
                    shown.tick(None, response.finish == "error")
        tried |= pending
        stopping.check()


def _pending(standing: Iterator[Request], keys: set[str]) -> Iterator[Request]:
    """Those of `keys`, each once."""
    left = set(keys)
    for request in standing:
        if request.key in left:
            left.remove(request.key)
            yield request


@dataclass(frozen=True)
class Estimate:
    """What a pass would ask: calls known of, those with a reply on disk, characters to send."""

    calls: int
    stored: int
    characters: int
    quoted: int


def estimate(work: Pass, verdicts: Path) -> Estimate:
    """Count without asking or writing; second questions are known only after the first."""
    with replies(verdicts) as answer:
        wanted = {r.key: r for r in work.standing(answer)}
        asked = [request for key, request in wanted.items() if answer(key) is None]
    parts = [part for request in asked for message in request.messages for part in message.parts]
    characters = sum(len(part.text) for part in parts if isinstance(part, Text))
    return Estimate(len(wanted), len(wanted) - len(asked), characters, work.quoted)


def as_number(value: float | None) -> float:
    """NaN for None, as tables of numbers have it."""
    return math.nan if value is None else value
