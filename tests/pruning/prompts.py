"""Requests, and what the engine made of them: logits of each step, what was kept."""

from __future__ import annotations

from dataclasses import replace

import torch

from lalm_bench.engine.choose import chooser
from lalm_bench.engine.decode import Decoder
from lalm_bench.engine.listening import audio_token
from lalm_bench.engine.stages import Stages
from lalm_bench.types import Audio, AudioRef, AudioSource, Generation, Message, Request, Text
from tests import tiny

FAMILIES = [name for name in tiny.FAMILIES if name != "tiny_llama"]
EQUAL_LENGTH = ("phi4_multimodal", "granite_speech")
# Their third layer lends its keys to the fourth.
SHARING = ("gemma3n", "gemma4")
WRITTEN = 4


TEXTS = ("Which event comes next?", "What?", "Return only A, B, C, D.")
ONE_CLIP = ("audio_flamingo_3", "music_flamingo", "glm_asr", "qwen3_asr")


def heard(path):
    return Audio(AudioSource(AudioRef(path)))


def asked(clips, texts=TEXTS):
    return [
        Request(
            f"q{i}",
            (Message("user", (heard(clips[i % len(clips)]), Text(text))),),
            key=f"q{i}",
            generation=Generation(max_new_tokens=WRITTEN + 1),
        )
        for i, text in enumerate(texts)
    ]


def layer_of(family):
    return 1 if family in SHARING else 2


class Noted:
    """A method, and what it kept of each row."""

    def __init__(self, method):
        self.method, self.kept, self.values = method, [], []
        for name in ("needs", "window", "first_layer", "last_layer", "count"):
            setattr(self, name, getattr(method, name))
        if hasattr(method, "replace"):
            self.replace = self._replace

    def select(self, seen, audio, keep):
        picked = self.method.select(seen, audio, keep)
        self.kept.append(audio[picked])
        return picked

    def _replace(self, seen, audio, keep):
        picked, values = self.method.replace(seen, audio, keep)
        self.kept.append(audio[picked])
        self.values.append(values)
        return picked, values


class Steps:
    """Last logits (rows, vocabulary) of each forward pass."""

    def __init__(self, network):
        self.logits = []
        self._hook = network.register_forward_hook(
            lambda module, args, output: self.logits.append(output.logits[:, -1].clone())
        )

    def __enter__(self):
        return self.logits

    def __exit__(self, *error):
        self._hook.remove()


def written(model, pruning, batches):
    """Rows' logits (steps, vocabulary) and tokens, of batches read apart and written together."""
    resident = model.resident
    items = [[model._prepare(r) for r in batch] for batch in batches]
    with pruning(model), Steps(model.network) as logits:
        parts = [resident.read(batch, Stages(torch.device("cpu"))) for batch in items]
        heard = len(logits)
        first = torch.cat(logits[:heard])
        generations = [item.request.generation for batch in items for item in batch]
        endless = Decoder(model.network, replace(resident.decoder.facts, stops=()))
        tokens = endless.write(parts, chooser(generations), WRITTEN + 1)
        return torch.stack([first, *logits[heard:]], dim=1), tokens, parts


def places(features, model):
    ids = features["input_ids"][0]
    return (ids == audio_token(model.network.config)).nonzero()[:, 0]


def assert_near(found, expected, bound=1e-4):
    assert torch.isfinite(found).all()
    torch.testing.assert_close(
        found, expected, rtol=0, atol=bound * max(1, float(expected.abs().max()))
    )


def blinded(features, model, kept):
    """What is dropped (columns,), where of the audio only `kept` stays."""
    blind = torch.zeros(features["input_ids"].shape[1], dtype=torch.bool)
    blind[places(features, model)] = True
    blind[kept] = False
    assert blind.any()
    return blind


def batches_of(family, requests):
    """Mixed lengths in one batch, and a second batch that is written together with it."""
    if family in EQUAL_LENGTH:
        return [[r] for r in requests]
    return [requests[:2], requests[2:]]


class Scored:
    """A scorer, and the scores it gave in turn."""

    def __init__(self, method):
        self.method, self.scores = method, []
        self.needs, self.window = method.needs, method.window

    def score(self, seen):
        self.scores.append(self.method.score(seen).clone())
        return self.scores[-1]
