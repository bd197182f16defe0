"""Write answers token by token, many rows at once.

On a GPU a step of a small batch costs its hundreds of kernel launches, not its arithmetic; so after
a few steps the step is recorded as a CUDA graph and replayed. Rows that have stopped are dropped
once they are half of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lalm_bench.engine.attention import attend_in_groups
from lalm_bench.engine.choose import Choose
from lalm_bench.engine.kv import Prefilled, Slab, joined
from lalm_bench.engine.layers import FULL, SLIDING, Stack
from lalm_bench.engine.shortened import Shortened
from lalm_bench.errors import ModelError

# Tokens for which room is made at a time: more would make every step read past what is written.
ROOM = 128
# Steps before a graph is worth recording: most answers to multiple-choice questions end earlier.
PLAIN = 2
# Replays between two looks at which rows have stopped; each look waits for the GPU.
LOOK = 8


@dataclass(frozen=True)
class TokenFacts:
    """What a checkpoint says about its tokens; its sampling settings are not ours.

    Checkpoints ship sampling and a repetition penalty switched on; the penalty would hit the option
    labels that stand in the prompt.
    """

    stops: tuple[int, ...]
    pad: int
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()

    @classmethod
    def of(cls, defaults: Any, tokenizer: Any) -> TokenFacts:
        """Facts from a `GenerationConfig`, completed by the tokenizer.

        Raises
        ------
        ModelError
            The checkpoint forbids phrases of several tokens, which is not supported.
        """
        stops = defaults.eos_token_id
        if stops is None:
            stops = getattr(tokenizer, "eos_token_id", None)
        stops = (
            () if stops is None else tuple(stops) if isinstance(stops, (list, tuple)) else (stops,)
        )
        phrases = getattr(defaults, "bad_words_ids", None) or ()
        if any(len(phrase) > 1 for phrase in phrases):
            raise ModelError(
                "the checkpoint's generation_config.json forbids phrases (bad_words_ids), which "
                "is not supported; remove that entry"
            )
        words = tuple(phrase[0] for phrase in phrases)
        return cls(
            stops,
            pad_id(tokenizer) if defaults.pad_token_id is None else defaults.pad_token_id,
            tuple(getattr(defaults, "suppress_tokens", None) or ()) + words,
            tuple(getattr(defaults, "begin_suppress_tokens", None) or ()),
        )


def pad_id(tokenizer: Any) -> int:
    """The tokenizer's pad token, else its stop token, else 0; masked wherever it is used."""
    for name in ("pad_token_id", "eos_token_id"):
        found = getattr(tokenizer, name, None)
        if isinstance(found, int):
            return found
    return 0


@dataclass
class Decoder:
    """The decoding loop of one network.

    Parameters
    ----------
    network : PreTrainedModel
    facts : TokenFacts
    graphs : bool
        Record steps as CUDA graphs; switched off for good when the network's forward pass cannot
        be recorded (`refusal` then says why).
    """

    network: Any
    facts: TokenFacts
    graphs: bool = True
    refusal: str | None = field(default=None, init=False)
    _short_masks: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        attend_in_groups()
        config = self.network.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        unknown = kinds - {FULL, SLIDING}
        if unknown:
            raise ModelError(f"layers of kind {', '.join(sorted(unknown))} are not supported")
        self._window = config.sliding_window if SLIDING in kinds else None
        self._additive = config._attn_implementation == "eager"
        device = self.network.device
        self._stops = torch.tensor(self.facts.stops, dtype=torch.long, device=device)
        self._banned = torch.tensor(self.facts.suppressed, dtype=torch.long, device=device)
        self._banned_first = torch.tensor(
            self.facts.suppressed_first, dtype=torch.long, device=device
        )

    @torch.inference_mode()
    def write(self, parts: Sequence[Prefilled], choose: Choose, limit: int) -> list[list[int]]:
        """Answers of all rows of `parts`, in order, each up to and with its first stop token.

        Parameters
        ----------
        parts : sequence of Prefilled
            Used up: their caches are empty afterwards.
        limit : int
            Most tokens in an answer.
        """
        logits = torch.cat([part.logits for part in parts])
        logits = _without(_without(logits, self._banned), self._banned_first)
        rows = _Rows.begin(parts, choose, choose(logits), limit, self._stops)
        with self._shortened(rows.shortened):
            return self._written(rows, limit)

    @contextmanager
    def _shortened(self, shortened: Shortened | None) -> Iterator[None]:
        """Inside, layers that hold less than the prompt attend under masks of their own."""
        if shortened is None:
            yield
            return
        with Stack(self.network).masking(shortened.layers, lambda kind: self._short_masks[kind]):
            try:
                yield
            finally:
                self._short_masks = {}

    def _written(self, rows: _Rows, limit: int) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in rows.numbers]
        while True:
            stopped = self._advance(rows)
            written = rows.out[:, : rows.written].tolist()
            ended = rows.written >= limit
            for row, (number, is_done) in enumerate(zip(rows.numbers, stopped, strict=True)):
                if is_done or ended:
                    answers[number] = _cut(written[row], self.facts.stops)
            if ended or all(stopped):
                return answers
            rows = rows.again([i for i, is_done in enumerate(stopped) if not is_done])

    def _advance(self, rows: _Rows) -> list[bool]:
        """Steps until the room is used or half of the rows have stopped; says which have."""
        graph: Any = None
        last = rows.steps()
        stopped: list[bool] = rows.done.tolist()
        for step in range(last):
            if 2 * sum(stopped) >= len(stopped):
                break
            if graph is None and self._worth_recording(rows, step, last):
                graph = self._recorded(rows)
            if graph is None:
                self._step(rows)
            else:
                graph.replay()
            rows.written += 1
            if graph is None or step % LOOK == LOOK - 1 or step == last - 1:
                stopped = rows.done.tolist()
        return stopped

    def _step(self, rows: _Rows) -> None:
        """One token in every row; all state changes in place, so that a graph can replay it."""
        rows.mask.index_fill_(1, rows.index, True)
        if rows.shortened is not None:
            masks = rows.shortened.write(rows.position, self._window)
            self._short_masks = {kind: self._form(mask) for kind, mask in masks.items()}
        logits = self.network(
            input_ids=rows.token,
            attention_mask=self._attention_mask(rows),
            position_ids=rows.position,
            past_key_values=rows.cache,
            use_cache=True,
        ).logits[:, -1]
        rows.place(rows.choose(_without(logits, self._banned)), self._stops)

    def _attention_mask(self, rows: _Rows) -> Any:
        """Ready masks (rows, 1, 1, tokens): transformers takes them as they are."""
        whole = rows.mask[:, None, None, :]
        if self._window is None:
            return self._form(whole)
        near = rows.places > rows.index - self._window
        return {
            FULL: self._form(whole),
            SLIDING: self._form(whole & near),
        }

    def _form(self, mask: Tensor) -> Tensor:
        if not self._additive:
            return mask
        dtype = self.network.dtype
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)

    def _worth_recording(self, rows: _Rows, step: int, last: int) -> bool:
        on_gpu = self.network.device.type == "cuda"
        return on_gpu and self.graphs and rows.choose.replayable and PLAIN <= step < last - 3

    def _recorded(self, rows: _Rows) -> Any:
        """The step as a graph; recording runs nothing. None when it cannot be recorded."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step(rows)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self.graphs, self.refusal = False, str(error).splitlines()[0]
            # A recording that broke off leaves the process's generator waiting for its end.
            generator = torch.cuda.default_generators[self.network.device.index or 0]
            generator.graphsafe_set_state(generator.clone_state())
            return None
        return graph


@dataclass
class _Rows:
    """State of the rows in the batch; `numbers` are their places in the answer list."""

    cache: Any
    mask: Tensor
    token: Tensor
    position: Tensor
    index: Tensor
    done: Tensor
    out: Tensor
    column: Tensor
    places: Tensor
    choose: Choose
    numbers: list[int]
    written: int
    limit: int
    shortened: Shortened | None = None

    @classmethod
    def begin(
        cls, parts: Sequence[Prefilled], choose: Choose, first: Tensor, limit: int, stops: Tensor
    ) -> _Rows:
        device = first.device
        longest = max(part.mask.shape[1] for part in parts)
        lengths = torch.cat([part.mask.sum(1) for part in parts])
        index = torch.tensor([longest], device=device)
        room = _room(longest, limit - 1)
        shortened = Shortened.begin(parts, lambda length: _room(length, limit - 1))
        cache, mask = joined(parts, room, index, shortened)
        rows = cls(
            cache,
            mask.bool(),
            token=first.new_zeros(len(first), 1),
            position=lengths[:, None] - 1,
            index=index,
            done=torch.zeros(len(first), dtype=torch.bool, device=device),
            out=first.new_zeros(len(first), limit),
            column=torch.zeros(1, dtype=torch.long, device=device),
            places=torch.arange(mask.shape[1], device=device),
            choose=choose,
            numbers=list(range(len(first))),
            written=1,
            limit=limit,
            shortened=shortened,
        )
        rows.place(first, stops, advance=False)
        return rows

    def place(self, token: Tensor, stops: Tensor, advance: bool = True) -> None:
        """Note the token chosen; the slab's index moves on when one was read."""
        self.token.copy_(token[:, None])
        self.position += 1
        if advance:
            self.index += 1
            if self.shortened is not None:
                self.shortened.index += 1
        self.out.index_copy_(1, self.column, token[:, None])
        self.column += 1
        self.done |= (token[:, None] == stops).any(1)

    def steps(self) -> int:
        """Steps for which there is room."""
        left = self.mask.shape[1] - int(self.index)
        if self.shortened is not None:
            left = min(left, self.shortened.left)
        return min(self.limit - self.written, left)

    def again(self, kept: list[int]) -> _Rows:
        """The rows `kept`, with room for more."""
        everyone = len(kept) == len(self.numbers)
        chosen = None if everyone else torch.tensor(kept, device=self.token.device)
        wanted = self.limit - self.written
        room = _more(int(self.index), self.mask.shape[1], wanted)
        shortened, rooms = self.shortened, dict[int, int]()
        if shortened is not None:
            more = _more(shortened.read, shortened.mask.shape[1], wanted)
            rooms = dict.fromkeys(shortened.layers, more)
            shortened = shortened.resized(chosen, more)
        layers: list[Slab] = [
            layer.resized(chosen, rooms.get(number, room))
            for number, layer in enumerate(self.cache.layers)
        ]
        rows = slice(None) if chosen is None else chosen
        mask = torch.nn.functional.pad(self.mask[rows], (0, room))
        return _Rows(
            type(self.cache)(layers=layers),
            mask,
            self.token[rows].clone(),
            self.position[rows].clone(),
            self.index,
            self.done[rows].clone(),
            self.out[rows].clone(),
            self.column,
            torch.arange(mask.shape[1], device=mask.device),
            self.choose if chosen is None else self.choose.rows(chosen),
            [self.numbers[i] for i in kept],
            self.written,
            self.limit,
            shortened,
        )


def _more(read: int, length: int, wanted: int) -> int:
    """Columns to add to a buffer of `length`, of which `read` are written."""
    return max(read + _room(read, wanted) - length, 0)


def _room(longest: int, wanted: int) -> int:
    """Room for up to ROOM tokens; buffers of a multiple of 8 tokens suit attention kernels."""
    room = min(wanted, ROOM)
    return room + -(longest + room) % 8


def _without(logits: Tensor, banned: Tensor) -> Tensor:
    return logits.index_fill(1, banned, -torch.inf) if len(banned) else logits


def _cut(ids: list[int], stops: tuple[int, ...]) -> list[int]:
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    return ids if end is None else ids[: end + 1]
