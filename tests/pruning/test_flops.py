"""Counted operations: equal to what torch counts in a forward pass of each family."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lalm_bench.pruning.flops import Prefill, encoder_flops
from tests import tiny

TOKENS = 50


def network(family, folder):
    if lacks := tiny.lacking(family):
        pytest.skip(f"{family} needs {', '.join(lacks)}: make test installs it")
    built, _ = tiny.FAMILIES[family](folder)
    built = getattr(built, "thinker", built).eval()
    # What the counter sees: products of matrices, and neither fused attention nor grouped experts.
    built.set_attn_implementation("eager")
    if hasattr(built, "set_experts_implementation"):
        built.set_experts_implementation("eager")
    return built


def counted(call):
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_prefill_costs_what_torch_counts(family, tmp_path):
    built = network(family, tmp_path)
    cost = Prefill.of(built)
    ids = torch.full((1, TOKENS), 5)
    found = counted(lambda: built.get_decoder()(input_ids=ids))
    # Eager attention computes the whole square, also of windows.
    expected = cost.entrance * TOKENS + sum(
        token * TOKENS + pair * TOKENS**2 for token, pair in zip(cost.token, cost.pair, strict=True)
    )
    # Gemma 3n mixes its streams with small products of activations, which no weight tells of.
    assert found == pytest.approx(expected, rel=0.02 if family == "gemma3n" else 1e-9)
    output = built.get_output_embeddings()
    head = counted(lambda: output(torch.zeros(1, 1, output.in_features)))
    assert head == cost.head


def test_half_of_the_square_and_the_head_once():
    cost = Prefill((10.0, 10.0), (4.0, 4.0), (None, None), 0.0, 7.0)
    assert cost.flops(3) == 2 * (10 * 3 + 4 * (1 + 2 + 3)) + 7
    # The second layer sees two of five tokens.
    assert cost.flops(5, dropped=3, layer=1) == (50 + 4 * 15) + (20 + 4 * 3) + 7


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 11])
def test_a_window_bounds_what_a_query_sees(tokens):
    cost = Prefill((0.0,), (1.0,), (4,), 0.0, 0.0)
    assert cost.flops(tokens) == sum(min(query + 1, 4) for query in range(tokens))


def test_speedup_of_published_sizes():
    """28 layers, K=2, nine tenths audio, half of it dropped: at most 1 / (2/28 + 26/28 * 0.55)."""
    matrices = Prefill((1.0,) * 28, (0.0,) * 28, (None,) * 28, 0.0, 0.0)
    assert matrices.speedup(1000, 900, 450, 2) == pytest.approx(1 / (2 / 28 + 26 / 28 * 0.55))
    with_attention = Prefill((1.0,) * 28, (1e-3,) * 28, (None,) * 28, 0.0, 0.0)
    assert with_attention.speedup(1000, 900, 450, 2) > matrices.speedup(1000, 900, 450, 2)
    assert matrices.speedup(1000, 900, 900, 2) == 1


def test_a_network_without_memory_will_do(tmp_path):
    import transformers

    here, _ = tiny.FAMILIES["qwen2_audio"](tmp_path)
    with torch.device("meta"):
        nowhere = transformers.Qwen2AudioForConditionalGeneration._from_config(here.config)
    assert Prefill.of(nowhere) == Prefill.of(here)


def test_an_encoder_costs_what_torch_counts(tmp_path):
    built = network("qwen2_audio", tmp_path)
    config = built.config.audio_config
    frames = config.max_source_positions
    spectrum = torch.zeros(1, config.num_mel_bins, 2 * frames)
    encoder = next(module for name, module in built.named_modules() if name.endswith("audio_tower"))
    found = counted(lambda: encoder(spectrum))
    assert found == pytest.approx(encoder_flops(config, frames), rel=1e-3)
    assert encoder_flops(config, frames, 10) < encoder_flops(config, frames)
