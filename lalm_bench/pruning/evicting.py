"""One forward pass whose layers give up keys and values as soon as they have run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lalm_bench.engine.layers import FULL, Columns, Stack, parameters
from lalm_bench.engine.prefill import Passing, Row
from lalm_bench.errors import ModelError
from lalm_bench.pruning.contracts import KEYS, QUERIES, ROTARY, SCOPES, VALUES, Seen, evicted
from lalm_bench.pruning.probe import Probe
from lalm_bench.randomness import derive

if TYPE_CHECKING:
    from lalm_bench.pruning.eviction import Eviction


class Evictor:
    """The `engine.prefill.Pruner` of one setting and one network."""

    def __init__(self, setting: Eviction, stack: Stack) -> None:
        self.setting, self.stack = setting, stack
        # Layers that use another's keys get what is left of them.
        self.layers = frozenset(i for i, kind in enumerate(stack.kinds) if kind == FULL)
        self.own = sorted(i for i in self.layers if stack.caches(i))

    @contextmanager
    def pruning(
        self, rows: Sequence[Row], audio: Sequence[Tensor], cache: Any
    ) -> Iterator[Passing]:
        """One forward pass; what it leaves in `cache` is known when it is over."""
        asks = QUERIES in self.setting.method.needs
        probe = Probe(dict.fromkeys(self.own, self.setting.method.window) if asks else {})
        eviction = _Pass(self, probe, rows, audio, cache)
        hooks = []
        try:
            with probe.watching(self.stack):
                for number in self.own:
                    hooks.append(
                        self.stack.layers[number].register_forward_hook(
                            eviction.after(number), with_kwargs=True
                        )
                    )
                yield eviction
        finally:
            for hook in hooks:
                hook.remove()


class _Pass(Passing):
    """What each row gives up, layer by layer."""

    def __init__(
        self,
        evictor: Evictor,
        probe: Probe,
        rows: Sequence[Row],
        audio: Sequence[Tensor],
        cache: Any,
    ) -> None:
        super().__init__()
        self._setting, self._stack = evictor.setting, evictor.stack
        self._probe, self._cache, self._rows = probe, cache, rows
        whole = self._setting.scope != SCOPES[0]
        self._scope = [
            torch.arange(len(r)) if whole else a for r, a in zip(rows, audio, strict=True)
        ]
        self._drop = [evicted(len(scope), self._setting.ratio) for scope in self._scope]
        lengths = [len(row) - drop for row, drop in zip(rows, self._drop, strict=True)]
        self._longest = max(lengths)
        mask = torch.arange(self._longest) >= self._longest - torch.tensor(lengths)[:, None]
        kept = [len(a) - drop for a, drop in zip(audio, self._drop, strict=True)]
        self._columns = Columns(
            evictor.layers, mask.long(), None, tuple(lengths), None if whole else tuple(kept)
        )

    def after(self, number: int) -> Any:
        """The forward hook of one layer."""

        def evict(layer: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            held = self._cache.layers[number]
            given = dict(zip(parameters(layer), args, strict=False)) | kwargs
            index = self._index(number, held.keys, held.values, given.get("position_embeddings"))
            at = index[..., None]
            held.keys = held.keys.gather(2, at.expand(-1, -1, -1, held.keys.shape[3]))
            held.values = held.values.gather(2, at.expand(-1, -1, -1, held.values.shape[3]))
            if self.columns is None:
                mask = self._columns.mask.to(index.device, non_blocking=True)
                told = self._columns
                self.columns = Columns(told.layers, mask, None, told.lengths, told.audio)

        return evict

    def _index(self, number: int, keys: Tensor, values: Tensor, rotary: Any) -> Tensor:
        """Columns that stay (rows, key heads, columns); the first column stands for padding."""
        needs, width = self._setting.method.needs, keys.shape[2]
        queries = self._probe.take(number) if QUERIES in needs else None
        chosen = []
        for row, scope, drop, prompt in zip(
            range(len(keys)), self._scope, self._drop, self._rows, strict=True
        ):
            begin = width - len(prompt)
            fields: dict[str, Any] = {}
            if KEYS in needs:
                fields[KEYS] = keys[row, :, begin:]
            if VALUES in needs:
                fields[VALUES] = values[row, :, begin:]
            if queries is not None:
                fields[QUERIES] = queries[0][row, :, -len(prompt) :]
                fields["scaling"] = queries[1]
            if ROTARY in needs:
                # One row of them where all rows stand at the same places.
                cosines, sines = (t.expand(len(keys), -1, -1)[row, begin:] for t in rotary)
                fields[ROTARY] = cosines, sines
            seed = derive(self._setting.seed, prompt.name, "prune")
            seen = Seen(len(prompt), seed, keys.device, **fields)
            kept = self._kept(seen, keys.shape[1], scope, drop) + begin
            chosen.append(pad(kept, (self._longest - kept.shape[1], 0)))
        return torch.stack(chosen)

    def _kept(self, seen: Seen, heads: int, scope: Tensor, drop: int) -> Tensor:
        """Columns of one row that stay (key heads, columns), in order."""
        device = torch.device(seen.device)
        everything = torch.arange(seen.tokens)
        if not drop:
            return everything.to(device, non_blocking=True).expand(heads, -1)
        scores = self._setting.method.score(seen)
        if scores.shape != (heads, seen.tokens):
            raise ModelError(
                f"{self._setting.name} scored {tuple(scores.shape)} where there are "
                f"{(heads, seen.tokens)} keys"
            )
        spared = torch.ones(seen.tokens, dtype=torch.bool)
        spared[scope] = False
        scope = scope.to(device, non_blocking=True)
        order = scores[:, scope].sort(dim=1, descending=True, stable=True).indices
        stay = scope[order[:, : len(scope) - drop]]
        words = everything[spared].to(device, non_blocking=True).expand(heads, -1)
        return torch.cat([words, stay], dim=1).sort(dim=1).values
