"""Networks in memory for the engine's tests: tiny random checkpoints, float32, on the CPU."""

from __future__ import annotations

import pytest

from lalm_bench.types import Runtime
from tests.models.conftest import ask, checkpoint, clips

__all__ = ["ask", "checkpoint", "clips"]


@pytest.fixture(scope="session")
def loaded(checkpoint):
    """`loaded(family, again="", **runtime)`: a model ready to answer; `again` tells copies apart.

    Whoever changes a model takes a copy of its own.
    """
    from lalm_bench.models.hf import HFModel
    from lalm_bench.models.text import TextModel

    known = {}

    def load(family, again="", **runtime):
        key = (family, again, *sorted(runtime.items()))
        if key not in known:
            kind = TextModel if family == "tiny_llama" else HFModel
            known[key] = kind(name=family, path=str(checkpoint(family)), dtype="float32")
            known[key].load(Runtime(device="cpu", workers=1, **runtime))
        return known[key]

    return load


@pytest.fixture(scope="session")
def plain(checkpoint):
    """`plain(family)`: the network as transformers loads it, with nothing of ours around it."""
    import torch
    import transformers

    known = {}

    def load(family):
        if family not in known:
            from lalm_bench.models.hf import HFModel

            model = HFModel(name=family, path=str(checkpoint(family)))
            network_class = getattr(transformers, model.class_name())
            network = network_class.from_pretrained(model.path, dtype=torch.float32).eval()
            subfolder = model.settings().adapter
            if subfolder:
                network.load_adapter(model.path, adapter_kwargs={"subfolder": subfolder})
            known[family] = network
        return known[family]

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
