"""Log-probabilities of continuations against one plain forward pass for each."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.engine.likelihood import continuation_logprobs
from lalm_bench.engine.prefill import Reader, Row, tokens_of

CONTEXTS = ("Which event comes next? Choose exactly one option.", "Answer:", "a dog barks B) a car")
CONTINUATIONS = (" A", "B", " a dog barks", "rain falls D) none of the above", " none", "x")


@pytest.fixture(scope="module")
def llama(loaded):
    return loaded("tiny_llama").resident


def ids(llama, text):
    return tuple(llama.tokenizer.encode(text, add_special_tokens=False))


def plainly(network, context, continuation):
    with torch.inference_mode():
        logits = network(torch.tensor([context + continuation])).logits[0].double()
    table = logits.log_softmax(-1)[len(context) - 1 : -1]
    return float(table.gather(1, torch.tensor(continuation)[:, None]).sum())


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_every_pair_equals_a_plain_forward_pass(llama, at_once):
    contexts = [ids(llama, text) for text in CONTEXTS]
    continuations = [ids(llama, text) for text in CONTINUATIONS]
    assert min(map(len, continuations)) == 1
    assert max(map(len, continuations)) > 5
    reader = Reader(llama.network, None, llama.decoder.facts.pad)
    rows = []
    for context in contexts:
        tokens = torch.tensor([context])
        rows.append(Row({"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}))
    prompts = reader.read(rows)
    # Not in the rows' order, and not as many for each.
    pairs = [(row, c) for c in continuations for row in (2, 0, 1)][:-1]
    pairs.append((1, continuations[2]))
    expected = [plainly(llama.network, contexts[row], c) for row, c in pairs]
    for _ in range(2):  # the prompts stay as they are
        got = continuation_logprobs(reader, prompts, pairs, at_once)
        assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["gemma3n", "gemma4"])
def test_windows_slide_over_continuations_of_any_length(
    loaded, plain, featured, ask, clips, family
):
    model = loaded(family)
    asked = ask("q", "Which event comes next?", clips[3])
    item, whole = model._prepare(asked), featured(family, asked)
    row = Row(tokens_of(item.inputs), model._listener.encode([item.inputs])[0])
    window = model.network.config.get_text_config().sliding_window
    assert len(row) > window
    tokenizer = model.resident.tokenizer
    pairs = [(0, tuple(tokenizer.encode(t, add_special_tokens=False))) for t in CONTINUATIONS]
    expected = []
    for _, tokens in pairs:
        longer = {k: v for k, v in whole.items() if k not in tokens_of(whole)}
        for name, tensor in tokens_of(whole).items():
            more = {"input_ids": tokens, "attention_mask": [1] * len(tokens)}
            tail = torch.tensor([more.get(name, [0] * len(tokens))])
            longer[name] = torch.cat([tensor, tail], dim=1)
        with torch.inference_mode():
            table = plain(family)(**longer).logits[0].double().log_softmax(-1)
        at = torch.arange(len(row) - 1, len(row) - 1 + len(tokens))
        expected.append(float(table[at, torch.tensor(tokens)].sum()))
    reader = Reader(model.network, model._listener, 0)
    got = continuation_logprobs(reader, reader.read([row]), pairs, 100)
    assert got == pytest.approx(expected, abs=1e-4)


def test_continuations_of_one_token_read_nothing_more(llama):
    reader = Reader(llama.network, None, llama.decoder.facts.pad)
    tokens = torch.tensor([ids(llama, CONTEXTS[0])])
    prompts = reader.read([Row({"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})])
    before = reader.tokens
    continuation_logprobs(reader, prompts, [(0, (5,)), (0, (9,))], 8)
    assert reader.tokens == before
    continuation_logprobs(reader, prompts, [(0, (5, 6, 7)), (0, (9,))], 8)
    assert reader.tokens == before + 2, "the last token is predicted, never read"


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_no_more_continuations_than_allowed_are_read_at_once(llama, at_once):
    sizes = []
    reader = Reader(llama.network, None, llama.decoder.facts.pad)
    tokens = torch.tensor([ids(llama, CONTEXTS[0])])
    prompts = reader.read([Row({"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})])
    hook = llama.network.get_output_embeddings().register_forward_hook(
        lambda module, args, output: sizes.append(len(output))
    )
    try:
        continuation_logprobs(reader, prompts, [(0, (5, n)) for n in range(7)], at_once)
    finally:
        hook.remove()
    assert sum(sizes) == 7
    assert max(sizes) == min(at_once, 7)
