"""Tiny networks with four layers, and what transformers' own forward pass says about them."""

from __future__ import annotations

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest

from lalm_bench.types import Runtime
from tests import tiny
from tests.models.conftest import ask, clips
from tests.tiny import conformers, parts

__all__ = ["ask", "clips"]

LAYERS = 4


@pytest.fixture(scope="session")
def deep(tmp_path_factory):
    """`deep(family)` is the folder of a tiny checkpoint whose language model has four layers."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("deep")
    built = {}

    def of(family):
        if family not in built:
            lacks = tiny.lacking(family)
            if lacks:
                pytest.skip(f"{family} needs {', '.join(lacks)}: make test installs it")
            with (
                patch.dict(parts.LANGUAGE, num_hidden_layers=LAYERS),
                # Short enough to hide audio that is kept.
                patch.dict(conformers.GEMMA, sliding_window=48),
            ):
                built[family] = tiny.build(family, root)
        return built[family]

    return of


@pytest.fixture(scope="session")
def chords(tmp_path_factory):
    """Two clips of equal length (1.5 s) and different sound."""
    import soundfile

    root = tmp_path_factory.mktemp("chords")
    t = np.arange(24000) / 16000
    paths = []
    for i in range(2):
        wave = sum(np.sin(2 * np.pi * 130 * (i + 1) * k * t) for k in (1, 2.5, 4 + i)) / 5
        paths.append(str(root / f"chord{i}.wav"))
        soundfile.write(paths[-1], wave * np.cos(2 * np.pi * (i + 1) * t), 16000)
    return paths


@pytest.fixture(scope="session")
def loaded(deep):
    """`loaded(family, again="", **runtime)`: a deep model ready to answer."""
    from lalm_bench.models.hf import HFModel

    known = {}

    def load(family, again="", **runtime):
        key = (family, again, *sorted(runtime.items()))
        if key not in known:
            known[key] = HFModel(name=family, path=str(deep(family)), dtype="float32")
            known[key].load(Runtime(device="cpu", workers=1, **runtime))
        return known[key]

    return load


@pytest.fixture(scope="session")
def plain(deep):
    """`plain(family, **settings)`: the deep network with nothing of ours around it."""
    import torch
    import transformers

    known = {}

    def load(family, **settings):
        key = (family, *sorted(settings.items()))
        if key not in known:
            from lalm_bench.models.hf import HFModel

            model = HFModel(name=family, path=str(deep(family)))
            network_class = getattr(transformers, model.class_name())
            network = network_class.from_pretrained(model.path, dtype=torch.float32, **settings)
            subfolder = model.settings().adapter
            if subfolder:
                network.load_adapter(model.path, adapter_kwargs={"subfolder": subfolder})
            known[key] = network.eval()
        return known[key]

    return load


@pytest.fixture(scope="session")
def featured(loaded):
    """`featured(family, request)`: what the family's processor makes of it, silence and all."""
    from dataclasses import replace

    def features(family, request):
        model = loaded(family, again="untrimmed")
        model._settings = replace(model._settings, trims_audio=False)
        return model._prepare(request).inputs

    return features


@pytest.fixture(scope="session")
def masked(plain, featured):
    """`masked(family, request, tokens, ...)`: logits (1 + len(tokens), vocabulary).

    The whole prompt and what was written goes through the family's own forward pass, without a
    cache; a layer's queries cannot see the columns hidden from it. `hidden(layer)` gives them as
    bool (columns of the prompt,) or (heads, columns), for the queries from `since` on; `values` are
    (columns, vectors) that enter layer 0 instead.
    """
    import torch

    def of(family, request, tokens, hidden, since=lambda layer: 0, values=None):
        network, inputs = plain(family), featured(family, request)
        prompt = inputs["input_ids"].shape[1]
        inputs = _longer(inputs, tokens)
        with _hooked(network, prompt, hidden, since, values), torch.inference_mode():
            return network(**inputs).logits[0, prompt - 1 :]

    return of


def _longer(inputs, tokens):
    import torch

    behind = {"input_ids": torch.tensor([tokens], dtype=torch.long)}
    behind["attention_mask"] = torch.ones_like(behind["input_ids"])
    longer = dict(inputs)
    for name, tensor in inputs.items():
        if tensor.shape == inputs["input_ids"].shape:
            end = behind.get(name, torch.zeros_like(behind["input_ids"]))
            longer[name] = torch.cat([tensor, end.to(tensor)], dim=1)
    return longer


@contextmanager
def _hooked(network, prompt, hidden, since, values):
    import torch

    config = network.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * LAYERS
    layers = network.get_decoder().layers

    def around(number):
        def act(module, args, kwargs):
            states = args[0]
            length = states.shape[-2]
            order = torch.arange(length)
            seen = order <= order[:, None]
            if kinds[number] == "sliding_attention":
                seen = seen & (order > order[:, None] - config.sliding_window)
            blind = hidden(number)
            if blind is not None:
                blind = torch.nn.functional.pad(blind, (0, length - prompt))
                late = order[:, None] >= since(number)
                seen = seen & ~(blind[..., None, :] & late)
            # What is hidden from all sees at least itself.
            seen = seen | torch.eye(length, dtype=torch.bool)
            seen = seen[None, None] if seen.dim() == 2 else seen[None]
            if number == 0 and values is not None:
                columns, vectors = values
                states = states.clone()
                if states.dim() == 4:
                    vectors = vectors.unflatten(1, (len(states), -1)).movedim(1, 0)
                states[..., 0, columns, :] = vectors
            return (states, *args[1:]), {**kwargs, "attention_mask": seen}

        return act

    hooks = [
        layer.register_forward_pre_hook(around(i), with_kwargs=True)
        for i, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
