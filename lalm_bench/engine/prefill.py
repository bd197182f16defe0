"""Read prompts: each row as a whole, or what rows have in common once and then their own ends."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lalm_bench.engine.collate import TOKEN_KEYS, collate
from lalm_bench.engine.kv import Prefilled, growing
from lalm_bench.engine.layers import Columns, Stack, causal_masks
from lalm_bench.engine.listening import Listener, positions


@dataclass(frozen=True)
class Row:
    """Token tensors (1, tokens) of one prompt, and what its audio became.

    Parameters
    ----------
    tokens : dict
        `input_ids`, `attention_mask` and token types.
    vectors : Tensor, optional
        (audio tokens, hidden size).
    audio : Hashable
        Equal for rows that hear the same.
    name : str
        The item, from which what is drawn at random for it follows.
    """

    tokens: dict[str, Tensor]
    vectors: Tensor | None = None
    audio: Hashable = None
    name: str = ""

    def __len__(self) -> int:
        return int(self.tokens["input_ids"].shape[1])

    def cut(self, first: int, last: int) -> Row:
        """The tokens from `first` to before `last`; audio goes with the beginning."""
        part = {name: tensor[:, first:last] for name, tensor in self.tokens.items()}
        return Row(part, self.vectors if first == 0 else None)


def tokens_of(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The token tensors among an item's features."""
    return {name: tensor for name, tensor in inputs.items() if name in TOKEN_KEYS}


@dataclass
class Passing:
    """A forward pass after which some layers hold less than the prompt; filled when it is over."""

    columns: Columns | None = None


class Pruner(Protocol):
    """Shortens prompts while they are read; see `pruning`."""

    def pruning(
        self, rows: Sequence[Row], audio: Sequence[Tensor], cache: Any
    ) -> AbstractContextManager[Passing]:
        """Inside, a forward pass over `rows`, padded on the left, fills `cache` with less.

        Parameters
        ----------
        audio : sequence of Tensor
            (audio tokens,) their columns in each row, on the CPU.
        """


class Reader:
    """Prefill for one network.

    Parameters
    ----------
    network : PreTrainedModel
    listener : Listener or None
        None for a model that only reads.
    pad_id : int
    """

    def __init__(self, network: Any, listener: Listener | None, pad_id: int) -> None:
        self._network = network
        self._listener = listener
        self._pad_id = pad_id
        self._head = network.get_output_embeddings()
        kinds = getattr(network.config.get_text_config(), "layer_types", None) or ()
        self._slides = "sliding_attention" in kinds
        # Tokens read, without and with the padding between them.
        self.tokens = self.tokens_padded = 0
        self.pruner: Pruner | None = None

    @property
    def may_share(self) -> bool:
        """Whether rows may read what they begin with together.

        Windows count padding, and there is some between a shared beginning and its ends; and what
        audio is dropped depends on the words behind it.
        """
        return not self._slides and self.pruner is None

    @torch.inference_mode()
    def read(self, rows: Sequence[Row], share: bool = True) -> Prefilled:
        """Rows with their prompts read.

        Parameters
        ----------
        rows : sequence of Row
        share : bool
            Rows that begin with the same audio after the same words read that beginning once;
            wrong unless `may_share`.
        """
        begins = self._shared(rows) if share else None
        if begins is None:
            return self._forward(rows)
        owners: dict[Hashable, int] = {}
        which = [owners.setdefault(begin, len(owners)) for begin, _ in begins]
        firsts = [which.index(number) for number in range(len(owners))]
        beginning = self._forward([rows[i].cut(0, begins[i][1]) for i in firsts])
        ends = [row.cut(size, len(row)) for row, (_, size) in zip(rows, begins, strict=True)]
        return self.extend(beginning, torch.tensor(which), ends)

    def extend(
        self, past: Prefilled, which: Tensor, ends: Sequence[Row], keep: int = 1
    ) -> Prefilled:
        """Row i is row `which[i]` of `past`, continued with `ends[i]`; `past` stays as it is.

        Parameters
        ----------
        keep : int
            Last tokens whose logits are kept; more than one gives logits of shape
            (rows, keep, vocabulary).
        """
        return self._forward(ends, past.rows(which.to(past.mask.device)), keep)

    def _shared(self, rows: Sequence[Row]) -> list[tuple[Hashable, int]] | None:
        """Each row's beginning (identity, length), or None where sharing would not pay."""
        if self._listener is None:
            return None
        found: list[tuple[Hashable, int]] = []
        for row in rows:
            ids = row.tokens["input_ids"][0]
            heard = self._listener.places(ids).nonzero()
            if row.audio is None or not len(heard):
                return None
            size = int(heard[-1]) + 1
            if size == len(row):
                return None
            found.append(((row.audio, tuple(ids[:size].tolist())), size))
        return found if 2 * len(set(found)) <= len(found) else None

    def _forward(
        self, rows: Sequence[Row], past: Prefilled | None = None, keep: int = 1
    ) -> Prefilled:
        network = self._network
        self.tokens += sum(map(len, rows))
        self.tokens_padded += len(rows) * max(map(len, rows))
        batch = collate([r.tokens for r in rows], self._pad_id, network.device, network.dtype)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        whole = mask if past is None else torch.cat([past.mask, mask], dim=1)
        batch["attention_mask"] = whole
        batch["position_ids"] = positions(whole)[:, -ids.shape[1] :]
        cache = growing() if past is None else past.cache
        vectors = [row.vectors for row in rows if row.vectors is not None]
        # Several families compute logits of every token: gigabytes that nobody reads.
        last = self._head.register_forward_pre_hook(lambda module, args: (args[0][:, -keep:],))
        try:
            with self._shortened(rows, past, batch, cache) as passing:
                logits = self._logits(batch, vectors, cache)
        finally:
            last.remove()
        pruned = None if passing is None else passing.columns
        return Prefilled(cache, whole, logits[:, -1] if keep == 1 else logits, pruned)

    def _logits(self, batch: dict[str, Tensor], vectors: Sequence[Tensor], cache: Any) -> Tensor:
        logits: Tensor
        if self._listener is None:
            logits = self._network(**batch, past_key_values=cache, use_cache=True).logits
            return logits
        with self._listener.hearing(batch["input_ids"], vectors):
            logits = self._network(**batch, past_key_values=cache, use_cache=True).logits
        return logits

    def _shortened(
        self, rows: Sequence[Row], past: Prefilled | None, batch: dict[str, Tensor], cache: Any
    ) -> AbstractContextManager[Passing | None]:
        """Inside, a forward pass prunes, or goes on from what was pruned."""
        if past is not None:
            return nullcontext() if past.pruned is None else self._continued(past.pruned, batch)
        if self.pruner is None or self._listener is None:
            return nullcontext()
        places = self._listener.places
        audio = [places(row.tokens["input_ids"][0]).nonzero()[:, 0] for row in rows]
        return self.pruner.pruning(rows, audio, cache) if any(map(len, audio)) else nullcontext()

    @contextmanager
    def _continued(self, pruned: Columns, batch: dict[str, Tensor]) -> Iterator[Passing]:
        """Every layer attends to what it holds and to the tokens of `batch` behind it."""
        stack, asking = Stack(self._network), batch["input_ids"].shape[1]
        whole = batch["attention_mask"]
        columns = pruned.extended(whole[:, -asking:], batch["position_ids"])
        # Transformers would size masks by the cache of the first layer, which may be shorter.
        others = Columns(frozenset(), whole, positions(whole))
        batch["attention_mask"] = stack.ready(causal_masks(others, asking, stack.window))
        short = causal_masks(columns, asking, stack.window)
        with stack.masking(pruned.layers, short.__getitem__):
            yield Passing(columns)
