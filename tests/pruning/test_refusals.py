"""What cannot be pruned is refused in one line; what was pruned is as before, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lalm_bench.engine.stages import Stages
from lalm_bench.errors import ConfigError
from lalm_bench.models.hf import HFModel
from lalm_bench.models.random import RandomModel
from lalm_bench.pruning.eviction import Eviction
from lalm_bench.pruning.methods.dart import Dart
from lalm_bench.pruning.methods.fastv import FastV
from lalm_bench.pruning.methods.pooling import Pooling
from lalm_bench.pruning.methods.random import Random
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.prefill import PrefillPruning
from lalm_bench.types import Generation


def fastv(**settings):
    return PrefillPruning(name="fastv", method=FastV(), **{"layer": 2, **settings})


def one_line(refusal, *parts):
    text = str(refusal.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5, float("nan"), "half", True])
def test_a_ratio_is_a_fraction_of_what_is_dropped(ratio):
    for make in (fastv, lambda ratio: Eviction(name="snapkv", method=SnapKV(), ratio=ratio)):
        with pytest.raises(ConfigError) as refusal:
            make(ratio=ratio)
        one_line(refusal, "pruning.ratio=")


@pytest.mark.parametrize(
    ("method", "layer", "parts"),
    [
        (FastV(), 0, ("pruning.layer=0", "from layer 1")),
        (Dart(), 0, ("pruning.layer=0", "from layer 1")),
        (Random(), -1, ("pruning.layer=-1",)),
        (Pooling(), 2, ("pruning.layer=2", "pruning.layer=0")),
    ],
)
def test_a_method_is_refused_at_layers_where_it_cannot_work(method, layer, parts):
    with pytest.raises(ConfigError) as refusal:
        PrefillPruning(name="method", method=method, layer=layer)
    one_line(refusal, *parts)


def test_settings_with_a_few_values_name_them():
    with pytest.raises(ConfigError) as refusal:
        fastv(count="ceiling")
    one_line(refusal, "pruning.count=ceiling", "floor, match")
    with pytest.raises(ConfigError) as refusal:
        Eviction(name="snapkv", method=SnapKV(), scope="text")
    one_line(refusal, "pruning.scope=text", "audio, all")


def test_a_model_without_layers_to_prune_is_refused():
    for pruning in (fastv(), Eviction(name="snapkv", method=SnapKV())):
        with pytest.raises(ConfigError) as refusal:
            pruning.check(RandomModel(name="chance"))
        one_line(refusal, "chance", "pruning=none")


@pytest.mark.parametrize("state", ["on disk", "loaded"])
def test_layers_are_counted_before_and_after_loading(loaded, deep, state):
    def model(family):
        return loaded(family) if state == "loaded" else HFModel(name=family, path=str(deep(family)))

    for family in ("qwen2_audio", "qwen2_5_omni"):
        fastv(layer=3).check(model(family))
        with pytest.raises(ConfigError) as refusal:
            fastv(layer=4).check(model(family))
        one_line(refusal, "pruning.layer=4", family, "4 layers")
    fastv(layer=1).check(model("gemma3n"))
    with pytest.raises(ConfigError) as refusal:
        fastv(layer=2).check(model("gemma3n"))
    one_line(refusal, "pruning.layer=2", "layer 1")


def test_eager_attention_is_refused_with_the_reason(deep):
    model = HFModel(name="m", path=str(deep("qwen2_audio")), attn_implementation="eager")
    with pytest.raises(ConfigError) as refusal:
        fastv().check(model)
    one_line(refusal, "model.attn_implementation=eager", "sdpa")


def test_a_model_must_be_loaded_and_is_pruned_once(loaded, deep):
    with (
        pytest.raises(ConfigError, match="not loaded"),
        fastv()(HFModel(name="m", path=str(deep("qwen2_audio")))),
    ):
        pass
    model = loaded("qwen2_audio")
    with fastv()(model), pytest.raises(ConfigError, match="pruned already"), fastv()(model):
        pass
    assert model.resident.reader.pruner is None


@dataclass(frozen=True)
class Breaking:
    """Fails where it is asked."""

    window: int = 1
    needs: ClassVar[frozenset[str]] = frozenset({"keys", "queries"})
    first_layer: ClassVar[int] = 1
    last_layer: ClassVar[int | None] = None

    def count(self, tokens, ratio, rule):
        return max(1, tokens // 2)

    def select(self, seen, audio, keep):
        raise ValueError("broken")

    def score(self, seen):
        raise ValueError("broken")


def state(model):
    """Every hook of the network, the attention in use, and the reader's pruner."""
    hooks = {
        (name, kind): len(getattr(module, kind))
        for name, module in model.network.named_modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks")
    }
    attention = ALL_ATTENTION_FUNCTIONS["sdpa"], dict(ALL_ATTENTION_FUNCTIONS._local_mapping)
    return hooks, attention, model.resident.reader.pruner


def pruners(method=None):
    return (
        PrefillPruning(name="method", method=method or FastV(), layer=2),
        Eviction(name="method", method=method or SnapKV(window=4)),
    )


def test_nothing_is_left_behind_by_what_fails(loaded, clips, ask):
    model, request = loaded("qwen2_audio"), ask("q", "What?", clips[0])
    before = state(model)
    for pruning in pruners(Breaking()):
        with pruning(model):
            (answer,) = model.answer([request])
        assert (answer.finish, answer.text) == ("error", "")
        assert "broken" in answer.error
        assert state(model) == before
        item = model._prepare(request)
        with pytest.raises(ValueError, match="broken"), pruning(model):
            model.resident.read([item], Stages(torch.device("cpu")))
        assert state(model) == before


def test_a_step_that_fails_leaves_no_hook(loaded, clips, ask, monkeypatch):
    model, request = loaded("qwen2_audio"), ask("q", "What?", clips[0])
    before = state(model)
    decoder = type(model.resident.decoder)

    def fail(self, rows):
        raise RuntimeError("no step")

    for pruning in pruners():
        with monkeypatch.context() as patched, pruning(model):
            patched.setattr(decoder, "_step", fail)
            (answer,) = model.answer([request])
        assert "no step" in answer.error
        assert state(model) == before


def test_twenty_runs_leave_no_hook_and_change_no_answer(loaded, clips, ask):
    model = loaded("qwen2_audio", batch_size=2)
    requests = [
        ask(f"q{i}", "What?", clips[i], generation=Generation(max_new_tokens=3)) for i in (0, 1)
    ]
    before, whole = state(model), [r.text for r in model.answer(requests)]
    for pruning in pruners():
        seen = set()
        for _ in range(20):
            with pruning(model):
                seen.add(tuple(r.text for r in model.answer(requests)))
            assert state(model) == before
        assert len(seen) == 1
    assert [r.text for r in model.answer(requests)] == whole


def test_an_open_stream_of_answers_is_pruned_while_it_is_read(loaded, clips, ask):
    """Answers come lazily; a pruner left too early would show in the count of what was kept."""
    model = loaded("qwen2_audio", batch_size=1)
    requests = [ask(f"q{i}", "What?", clips[i]) for i in range(2)]
    with PrefillPruning(name="random", method=Random(), ratio=0.5)(model):
        kept = [
            r.usage["audio_tokens_kept"] / r.usage["audio_tokens"] for r in model.answer(requests)
        ]
    assert kept == pytest.approx([0.5, 0.5], abs=0.03)
    assert all(
        r.usage["audio_tokens_kept"] == r.usage["audio_tokens"] for r in model.answer(requests)
    )


def test_text_alone_is_read_as_ever(loaded, ask):
    model, request = loaded("qwen2_audio"), ask("mute", "What comes next?")
    (whole,) = model.answer([request])
    for pruning in pruners():
        with pruning(model):
            (answer,) = model.answer([request])
        assert (answer.text, answer.usage) == (whole.text, whole.usage)


def test_layers_with_a_surprise_for_each_token_are_refused(loaded, clips, ask, monkeypatch):
    """A family's row forgets what its layers take for each token."""
    model, request = loaded("gemma3n", again="forgetful"), ask("q", "What?", clips[0])
    forgetful = type(model.settings())()
    monkeypatch.setattr(model, "settings", lambda: forgetful)
    with PrefillPruning(name="random", method=Random(), layer=1)(model):
        (answer,) = model.answer([request])
    assert "per_layer_input" in answer.error
