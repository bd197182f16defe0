"""How a multiple-choice item is asked: at once, with reasoning first, or in two turns.

A protocol is a YAML file under conf/protocol. Answers of one protocol are not comparable with those
of another, so it belongs to a run's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lalm_bench import prompts
from lalm_bench.errors import ConfigError
from lalm_bench.protocols.splits import nothing
from lalm_bench.types import ANSWER, MODES, Audio, Choice, Message, Request, Response, Sample, Text

if TYPE_CHECKING:
    from lalm_bench.parsing import Parser

CHAIN = "chain"
LETTERS = ("own", "upper")
_REASONING = "{reasoning}"
Split = Callable[[str], tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One way to put an item to a model. All texts are templates as in `lalm_bench.prompts`.

    Parameters
    ----------
    user : str
        Text of the user turn; in a prompt that gives reasoning back also with `{reasoning}`.
    system : str, optional
        Text of a system turn before it.
    opening : str
        Beginning of the assistant's turn, which the model continues.
    text_first : bool
        The text stands before the clips instead of after them.
    max_new_tokens : int, optional
        Of the answer; by default as many as the run grants.
    """

    user: str
    system: str | None = None
    opening: str = ""
    text_first: bool = False
    max_new_tokens: int | None = None

    def put(self, request: Request, choices: Sequence[Choice], chain: str = "") -> Request:
        """`request` asked in this way: its clips, its question, the options as shown."""

        def filled(template: str) -> Text:
            # Piece by piece: what stands in the chain or the question is no place to fill.
            pieces = template.split(_REASONING)
            return Text(chain.join([prompts.render(p, request.question, choices) for p in pieces]))

        parts: list[Text | Audio] = [Audio(source) for source in request.clips()]
        parts.insert(0 if self.text_first else len(parts), filled(self.user))
        messages = [Message("user", tuple(parts))]
        if self.system is not None:
            messages.insert(0, Message("system", (filled(self.system),)))
        if self.opening:
            messages.append(Message("assistant", (filled(self.opening),)))
        return replace(
            granted(request, self.max_new_tokens), messages=tuple(messages), choices=tuple(choices)
        )


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The turns in which an item is asked, and where reasoning ends in what comes back.

    Parameters
    ----------
    name : str
    prompt : Prompt
        The first turn, or the only one.
    splitter : callable
        Text -> (reasoning, conclusion); one of `lalm_bench.protocols.splits`.
    conclude : Prompt, optional
        A second turn on top of the first: then the first asks for a chain of reasoning only, and
        the chain is given back as `splitter` leaves it. Its `user` needs no question.
    conditioned : Prompt, optional
        Asks for the final answer with `{reasoning}` given; needs no second turn.
    direct : Prompt, optional
        Asks for the answer without reasoning.
    letters : str
        own: labels as the item has them. upper: shown as capital letters.
    parser : Parser, optional
        Text -> label, instead of the task's.

    Raises
    ------
    ConfigError
        A template lacks what it is for.
    """

    name: str
    prompt: Prompt
    splitter: Split = nothing
    conclude: Prompt | None = None
    conditioned: Prompt | None = None
    direct: Prompt | None = None
    letters: str = LETTERS[0]
    parser: Parser | None = None

    def __post_init__(self) -> None:
        where = f"protocol {self.name}"
        prompts.check(self.prompt.user, f"{where}: prompt.user")
        if self.direct:
            prompts.check(self.direct.user, f"{where}: direct.user")
        if self.conditioned:
            prompts.check(self.conditioned.user, f"{where}: conditioned.user")
            if _REASONING not in self.conditioned.user + self.conditioned.opening:
                raise ConfigError(
                    f"{where}: conditioned has no {_REASONING}; put it into its user or opening"
                )
        if self.letters not in LETTERS:
            raise ConfigError(f"{where}: letters={self.letters} must be one of own, upper")

    @property
    def reasons(self) -> bool:
        """Whether it asks for reasoning."""
        return self.conclude is not None or self.splitter is not nothing

    def ask(self, sample: Sample, request: Request) -> Request:
        """A task's request in this protocol; `step` is `chain` where a second turn follows.

        Raises
        ------
        ConfigError
            Reasoning is asked for in a mode that generates none.
        """
        if self.reasons and request.generation.mode != MODES[0]:
            raise ConfigError(
                f"generation.mode={request.generation.mode} generates no reasoning; set "
                "protocol=direct or none"
            )
        asked = self.prompt.put(_questioned(sample, request), self._shown(request))
        return replace(asked, step=CHAIN if self.conclude else ANSWER)

    def follow(self, sample: Sample, request: Request, response: Response) -> Request | None:
        """The second turn on top of the first as it was asked; None where there is none.

        The chain is given back as `split` leaves it.
        """
        if request.step != CHAIN:
            return None
        return self._concluded(request, self.split(response.text)[0])

    def split(self, text: str) -> tuple[str, str]:
        """(reasoning, conclusion) of an answer that reasons, or of a chain; "" where one lacks."""
        return self.splitter(text)

    def give_back(self, sample: Sample, request: Request, chain: str) -> Request:
        """Ask for the final answer with a chain of reasoning given (conditioned inference).

        Parameters
        ----------
        sample : Sample
        request : Request
            The item's, with the clips to hear.
        chain : str
            As `split` leaves it; it is given word for word.

        Raises
        ------
        ConfigError
            The protocol knows no reasoning.
        """
        request = _questioned(sample, request)
        if self.conclude:
            first = self.prompt.put(request, self._shown(request))
            return self._concluded(first, chain)
        if self.conditioned is None:
            raise ConfigError(
                f"protocol={self.name} asks for no reasoning that could be given back; set "
                "protocol=reasoning, two_turn, af3_reasoning or qwen_reasoning"
            )
        asked = self.conditioned.put(request, self._shown(request), chain)
        return replace(asked, step=ANSWER)

    def without_reasoning(self, sample: Sample, request: Request) -> Request:
        """Ask for the answer at once, with the clips of `request`.

        Raises
        ------
        ConfigError
            The protocol reasons and has no `direct` prompt.
        """
        prompt = self.direct or (None if self.reasons else self.prompt)
        if prompt is None:
            raise ConfigError(f"protocol={self.name} has no way to ask without reasoning: direct")
        asked = prompt.put(_questioned(sample, request), self._shown(request))
        return replace(asked, step=ANSWER)

    def _concluded(self, request: Request, chain: str) -> Request:
        turn = self.conclude
        if turn is None:
            raise ConfigError(f"protocol={self.name} has no second turn")
        before = list(request.messages)
        opening = ""
        if before[-1].role == "assistant":
            opening = "".join([p.text for p in before.pop().parts if isinstance(p, Text)])
        gap = " " if opening and chain and not (opening[-1] + chain[0]).isspace() else ""
        said = Message("assistant", (Text(opening + gap + chain),))
        asked = turn.put(replace(request, messages=()), request.choices)
        return replace(asked, messages=(*before, said, *asked.messages), step=ANSWER)

    def _shown(self, request: Request) -> tuple[Choice, ...]:
        if self.letters == "own":
            return request.choices
        return tuple([Choice(c.label.upper(), c.text) for c in request.choices])


def granted(request: Request, max_new_tokens: int | None) -> Request:
    """`request` with another bound on its answer; None leaves it."""
    if max_new_tokens is None:
        return request
    generation = replace(request.generation, max_new_tokens=max_new_tokens)
    return replace(request, generation=generation)


def _questioned(sample: Sample, request: Request) -> Request:
    return request if request.question else replace(request, question=sample.question)
