"""Evicted keys: written tokens cannot see them, the prompt could; head by head, layer by layer."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.engine.layers import FULL, Stack
from lalm_bench.pruning.eviction import Eviction
from lalm_bench.pruning.methods.keydiff import KeyDiff
from lalm_bench.pruning.methods.knorm import Knorm
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.methods.tova import Tova
from tests.pruning.conftest import LAYERS
from tests.pruning.prompts import (
    FAMILIES,
    Scored,
    asked,
    assert_near,
    batches_of,
    places,
    written,
)

SCORERS = {"knorm": Knorm(), "keydiff": KeyDiff(), "snapkv": SnapKV(window=4), "tova": Tova()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "scope"), [("knorm", "audio"), ("tova", "all"), ("snapkv", "audio")]
)
def test_evicted_keys_are_hidden_from_answers_alone(
    loaded, featured, masked, clips, family, name, scope
):
    model, requests = loaded(family), asked(clips)
    method = Scored(SCORERS[name])
    evicting = Eviction(name=name, method=method, ratio=0.5, scope=scope)
    batches = batches_of(family, requests)
    logits, tokens, _ = written(model, evicting, batches)
    stack = Stack(model.network)
    own = [i for i in range(LAYERS) if stack.kinds[i] == FULL and stack.caches(i)]
    scores = iter(method.scores)
    heard = {
        (layer, r.sample_id): next(scores) for batch in batches for layer in own for r in batch
    }
    assert next(scores, None) is None
    heads = model.network.config.get_text_config().num_attention_heads
    for row, request in enumerate(requests):
        features = featured(family, request)
        length = features["input_ids"].shape[1]
        audio = places(features, model).tolist() if scope == "audio" else list(range(length))
        blind = {
            layer: evicted_heads(heard[layer, request.sample_id], audio, heads) for layer in own
        }

        def hidden(number, blind=blind):
            # A layer without keys of its own has those of the last one before it that lends.
            source = number if number in blind else 1
            return blind[source] if stack.kinds[number] == FULL else None

        since = lambda number, length=length: length  # noqa: E731
        expected = masked(family, request, tokens[row][:-1], hidden, since)
        assert_near(logits[row], expected)


def evicted_heads(scores, scope, heads):
    """Brute force: the half with the lowest scores, of equals the later; (heads, columns)."""
    blind = torch.zeros(scores.shape, dtype=torch.bool)
    for head, values in enumerate(scores.tolist()):
        order = sorted(scope, key=lambda column: (values[column], -column))
        blind[head, order[: len(scope) - max(1, len(scope) // 2)]] = True
    return blind.repeat_interleave(heads // len(scores), 0)
