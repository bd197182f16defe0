"""Answers written many rows at once are those of `generate`, one row at a time."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig

from lalm_bench.engine import decode
from lalm_bench.engine.choose import Greedy, Sampled
from lalm_bench.engine.decode import Decoder, TokenFacts, pad_id
from lalm_bench.engine.prefill import Reader, Row, tokens_of
from lalm_bench.errors import ModelError

# Of 1 to 20 tokens; their answers end after 3 to 285 tokens, as the tiny network has it.
PROMPTS = (
    "Choose exactly one option. A) a dog B) a car passes C) rain falls",
    "a dog barks",
    "Return only the option label from: A, B, C, D.",
    "rain rain rain",
    "helpful",
    "none of the above B",
    "Which event comes next?",
    "the",
)


@pytest.fixture(scope="module")
def llama(loaded):
    return loaded("tiny_llama").resident


@pytest.fixture
def generated(llama):
    """`generated(text, limit, **settings)`: new tokens as transformers generates them, alone."""

    def generate(text, limit, **settings):
        ids = torch.tensor([llama.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            ours = {"do_sample": False, "max_new_tokens": limit, **settings}
            out = llama.network.generate(ids, attention_mask=torch.ones_like(ids), **ours)
        return out[0, ids.shape[1] :].tolist()

    return generate


def row(tokenizer, text):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return Row({"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def read(llama, texts, pieces=1):
    """The prompts, read in so many forward passes."""
    reader = Reader(llama.network, None, llama.decoder.facts.pad)
    rows = [row(llama.tokenizer, text) for text in texts]
    size = -(-len(rows) // pieces)
    return [reader.read(rows[i : i + size]) for i in range(0, len(rows), size)]


@pytest.fixture
def steps(llama):
    """Rows of every decoding step."""
    sizes = []
    hook = llama.network.get_output_embeddings().register_forward_hook(
        lambda module, args, output: sizes.append(len(output))
    )
    yield sizes
    hook.remove()


@pytest.mark.parametrize("pieces", [1, 3, 8])
@pytest.mark.parametrize("limit", [300, 200, 128, 130])
def test_long_answers_that_end_at_different_times(llama, generated, steps, pieces, limit):
    expected = [generated(text, limit) for text in PROMPTS]
    lengths = [len(tokens) for tokens in expected]
    assert max(lengths) > decode.ROOM - 1 > 3 >= min(lengths)
    parts = read(llama, PROMPTS, pieces)
    steps.clear()
    assert llama.decoder.write(parts, Greedy(), limit) == expected
    # Stopped rows leave once they are half of the batch, and nothing runs for long without any.
    assert steps[0] == len(PROMPTS)
    assert steps[-1] < len(PROMPTS) // 2
    assert len(steps) == max(lengths) - 1
    for step, rows in enumerate(steps):
        running = sum(length > step + 1 for length in lengths)
        assert running <= rows <= 2 * running


def test_room_grows_only_as_answers_grow(llama, monkeypatch):
    rooms = []
    real = decode._room
    monkeypatch.setattr(decode, "_room", lambda *a: rooms.append(real(*a)) or rooms[-1])
    llama.decoder.write(read(llama, PROMPTS[4:5]), Greedy(), 300)
    assert len(rooms) == 1
    llama.decoder.write(read(llama, PROMPTS[2:3]), Greedy(), 300)
    assert len(rooms) == 1 + 3
    assert all(decode.ROOM <= room < decode.ROOM + 8 for room in rooms[:-1])


def test_a_limit_of_one_token_takes_no_step(llama, generated, steps):
    expected = [generated(text, 1) for text in PROMPTS]
    parts = read(llama, PROMPTS, 2)
    steps.clear()
    assert llama.decoder.write(parts, Greedy(), 1) == expected
    assert steps == []


def test_all_rows_stop_at_once(llama, generated, steps):
    expected = generated(PROMPTS[1], 20)
    assert 1 < len(expected) < 20
    parts = read(llama, [PROMPTS[1]] * 5)
    steps.clear()
    assert llama.decoder.write(parts, Greedy(), 20) == [expected] * 5
    assert steps == [5] * (len(expected) - 1)


def test_rows_that_stop_with_their_first_token(llama, generated, steps):
    first = generated(PROMPTS[0], 1)
    facts = TokenFacts(stops=(*llama.decoder.facts.stops, *first), pad=0)
    parts = read(llama, PROMPTS[:3])
    got = Decoder(llama.network, facts).write(parts, Greedy(), 8)
    assert got[0] == first
    expected = [generated(text, 1) for text in PROMPTS]
    everything = TokenFacts(stops=tuple(range(llama.network.config.vocab_size)), pad=0)
    parts = read(llama, PROMPTS)
    steps.clear()
    assert Decoder(llama.network, everything).write(parts, Greedy(), 8) == expected
    assert steps == []


def test_without_a_stop_token_every_answer_has_the_length_asked_for(llama, generated):
    got = Decoder(llama.network, TokenFacts((), 0)).write(read(llama, PROMPTS), Greedy(), 40)
    assert [len(tokens) for tokens in got] == [40] * len(PROMPTS)
    for tokens, text in zip(got, PROMPTS, strict=True):
        alone = generated(text, 40)
        assert tokens[: len(alone)] == alone


def test_eager_attention_gets_the_masks_that_it_adds(checkpoint, llama):
    import transformers as tf

    eager = tf.AutoModelForCausalLM.from_pretrained(
        checkpoint("tiny_llama"), attn_implementation="eager"
    ).eval()
    expected = llama.decoder.write(read(llama, PROMPTS, 2), Greedy(), 60)
    got = Decoder(eager, llama.decoder.facts).write(read(llama, PROMPTS, 2), Greedy(), 60)
    assert got == expected


def test_sampled_rows_keep_their_generators_while_others_leave(llama):
    def draws(numbers):
        return Sampled([torch.Generator().manual_seed(i) for i in numbers], 0.9, 0.95)

    everyone = list(range(len(PROMPTS)))
    together = llama.decoder.write(read(llama, PROMPTS), draws(everyone), 160)
    alone = [llama.decoder.write(read(llama, [PROMPTS[i]]), draws([i]), 160)[0] for i in everyone]
    assert together == alone
    lengths = [len(tokens) for tokens in together]
    assert min(lengths) < 40 < 120 < max(lengths)


@pytest.mark.parametrize("family", ["gemma3n", "gemma4"])
def test_sliding_windows_move_with_the_answer(loaded, ask, clips, family):
    model = loaded(family)
    resident, listener = model.resident, model._listener
    window = resident.network.config.get_text_config().sliding_window
    items = [model._prepare(ask(str(i), "What?" * i, clips[i])) for i in (1, 3)]
    vectors = listener.encode([item.inputs for item in items])
    facts = TokenFacts((), resident.decoder.facts.pad)
    rows = [
        Row(tokens_of(item.inputs), vector) for item, vector in zip(items, vectors, strict=True)
    ]
    limit = 140
    assert limit > decode.ROOM
    assert max(map(len, rows)) > min(map(len, rows)) > window
    got = Decoder(resident.network, facts).write([resident.reader.read(rows)], Greedy(), limit)
    for item, tokens in zip(items, got, strict=True):
        with torch.inference_mode():
            out = resident.network.generate(
                **item.inputs, do_sample=False, max_new_tokens=limit, eos_token_id=None
            )
        assert tokens == out[0, item.inputs["input_ids"].shape[1] :].tolist()


def test_layers_without_keys_are_refused(llama):
    other = copy.copy(llama.network)
    other.config = copy.deepcopy(other.config)
    other.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ModelError, match="layers of kind linear_attention are not supported"):
        Decoder(other, llama.decoder.facts)


# ------------------------------------------------------------------- what a checkpoint says


TOKENIZER = SimpleNamespace(eos_token_id=2, pad_token_id=0)


def facts(tokenizer=TOKENIZER, **said):
    return TokenFacts.of(GenerationConfig(**said), tokenizer)


def test_stop_tokens_are_one_several_or_the_tokenizers():
    assert facts(eos_token_id=7).stops == (7,)
    assert facts(eos_token_id=[7, 9]).stops == (7, 9)
    assert facts(eos_token_id=0).stops == (0,)
    assert facts().stops == (2,)
    assert facts(SimpleNamespace()).stops == ()


def test_padding_is_the_checkpoints_then_the_tokenizers_then_its_stop():
    assert facts(pad_token_id=5).pad == 5
    assert facts(pad_token_id=0).pad == 0
    assert facts(SimpleNamespace(pad_token_id=3)).pad == 3
    assert pad_id(SimpleNamespace(pad_token_id=None, eos_token_id=4)) == 4
    assert pad_id(SimpleNamespace()) == 0


def test_sampling_and_penalties_of_the_checkpoint_are_no_facts_about_tokens():
    shipped = {"temperature": 0.3, "top_k": 5, "top_p": 0.5, "min_p": 0.2, "num_beams": 4}
    penalties = {"repetition_penalty": 1.3, "max_length": 9, "do_sample": True}
    assert facts(**shipped, **penalties) == facts()


def test_words_are_forbidden_and_phrases_refused():
    assert facts(suppress_tokens=[4], bad_words_ids=[[6], [7]]).suppressed == (4, 6, 7)
    assert facts(begin_suppress_tokens=[8]).suppressed_first == (8,)
    with pytest.raises(ModelError, match=r"forbids phrases \(bad_words_ids\)"):
        facts(bad_words_ids=[[6], [7, 8]])


@pytest.mark.parametrize("how", ["suppress_tokens", "bad_words_ids", "begin_suppress_tokens"])
def test_forbidden_tokens_are_not_written(llama, generated, how):
    plain = [generated(text, 24) for text in PROMPTS]
    # What would be written first, and elsewhere: one kind of ban covers both, the other one.
    banned = sorted({tokens[0] for tokens in plain} | {plain[2][4], plain[5][2]})
    said = {how: [[i] for i in banned] if how == "bad_words_ids" else banned}
    expected = [generated(text, 24, **said) for text in PROMPTS]
    assert expected != plain
    decoder = Decoder(llama.network, TokenFacts.of(GenerationConfig(**said), llama.tokenizer))
    got = decoder.write(read(llama, PROMPTS, 2), Greedy(), 24)
    assert got == expected
    assert not {tokens[0] for tokens in got} & set(banned)
    later = {token for tokens in got for token in tokens[1:]} & set(banned)
    assert bool(later) == (how == "begin_suppress_tokens")
