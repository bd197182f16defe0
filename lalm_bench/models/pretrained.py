"""What every model that transformers runs in this process shares: weights, identity, loading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.models.base import ModelBase
from lalm_bench.models.checkpoint import Checkpoint
from lalm_bench.models.loading import (
    DTYPES,
    load_network,
    own_template,
    pick_device,
    read_template,
)
from lalm_bench.types import Json, Request, Response, Runtime

if TYPE_CHECKING:
    from lalm_bench.engine.stream import Batch, Prepared

# Encoded audio kept in memory, bytes: requests on one clip are neighbours, so little is enough.
_AUDIO_MEMORY = 1 << 30


@dataclass(kw_only=True)
class Pretrained(ModelBase):
    """A network with weights.

    Parameters
    ----------
    name : str
        Folder and tracking name; no part of the identity.
    path : str
        Hub id or local folder. The local cache of the hub wins over the hub.
    revision : str, optional
        Branch, tag or commit on the hub.
    dtype : str
        bfloat16, float16, float32, or auto for the checkpoint's own.
    model_class : str, optional
        Class of transformers; by default the one that the checkpoint names.
    chat_template : str, optional
        Jinja text, or the path of a `.jinja` file, instead of the checkpoint's own.
    attn_implementation : str, optional
        eager or sdpa; by default the library's choice.
    trust_remote_code : bool
        Run Python code that comes with the checkpoint; needs `model_class` (an Auto class).
    licence_url : str, optional
        Page where the licence of gated weights is accepted; named when they are missing.
    gguf_file : str, optional
        GGUF weights inside the folder or repository (needs the package gguf).
    """

    name: str
    path: str
    revision: str | None = None
    dtype: str = "bfloat16"
    model_class: str | None = None
    chat_template: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    licence_url: str | None = None
    gguf_file: str | None = None

    network: Any = field(default=None, init=False, repr=False)
    template: str | None = field(default=None, init=False, repr=False)
    resident: Any = field(default=None, init=False, repr=False)
    _runtime: Runtime = field(default=Runtime(), init=False, repr=False)
    _budget: Any = field(default=None, init=False, repr=False)
    _traffic: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        demand(self.dtype, "dtype", DTYPES)
        demand(self.attn_implementation or "sdpa", "attn_implementation", ("eager", "sdpa"))
        if self.trust_remote_code and self.model_class is None:
            raise ConfigError(
                "model.trust_remote_code=true needs model.model_class: name the Auto class of "
                "transformers that loads the checkpoint's own code"
            )

    @property
    def checkpoint(self) -> Checkpoint:
        """The files behind `path`."""
        return Checkpoint(
            self.path, self.revision, self.licence_url, self.gguf_file, self.model_class
        )

    def missing(self) -> list[str]:
        """What to fetch or install first; see `Checkpoint.missing`."""
        return self.checkpoint.missing()

    def fetch(self) -> None:
        """Download the weights when they are not on this machine."""
        self.checkpoint.fetch()

    def identity(self) -> dict[str, Json]:
        """Weights, class, precision and template; never the folder, device or batch size."""
        override = read_template(self.chat_template)
        return {
            "model": type(self).__name__,
            "weights": self.checkpoint.identity(),
            "class": self.class_name(),
            "dtype": self.dtype,
            "attn_implementation": self.attn_implementation,
            "template": override and hashlib.blake2b(override.encode(), digest_size=16).hexdigest(),
            "trust_remote_code": self.trust_remote_code,
        }

    def class_name(self) -> str | None:
        """Class of transformers to load."""
        return self.checkpoint.class_name()

    def _is_resident(self, runtime: Runtime) -> bool:
        """Whether an earlier run has loaded everything already; starts this run's own counts."""
        from lalm_bench.engine.stream import Traffic

        if self.resident is None or self._runtime != runtime:
            return False
        self._traffic = Traffic()
        self.resident.forget()
        return True

    def _load(self, runtime: Runtime) -> Path:
        """Load the network; returns the folder, for the processor."""
        folder = self.checkpoint.fetch()
        self._runtime = runtime
        self.network = load_network(
            folder,
            self.class_name(),
            dtype=self.dtype,
            device=pick_device(runtime.device),
            attn_implementation=self.attn_implementation,
            trust_remote_code=self.trust_remote_code,
            gguf_file=self.gguf_file,
        )
        return folder

    def _choose_template(self, processor: Any, folder: Path) -> None:
        self.template = read_template(self.chat_template) or own_template(processor, folder)

    def _reside(self, tokenizer: Any, listener: Any = None) -> None:
        """Put everything between features and answers around the loaded network."""
        from lalm_bench.engine.budget import Budget
        from lalm_bench.engine.decode import TokenFacts
        from lalm_bench.engine.fuse import fuse
        from lalm_bench.engine.resident import Resident
        from lalm_bench.engine.stream import Traffic
        from lalm_bench.models.options import OptionComparison

        network, runtime = self.network, self._runtime
        self.resident = Resident(
            network,
            tokenizer,
            TokenFacts.of(network.generation_config, tokenizer),
            listener,
            self._encoded() if listener is not None and runtime.reuse_audio else None,
            graphs=runtime.graphs,
        )
        if runtime.fuse and network.device.type == "cuda":
            fuse(network)
        self._options = OptionComparison(self.resident)
        self._budget = Budget(network.device, runtime.batch_tokens)
        self._traffic = Traffic()

    def _encoded(self) -> Any:
        import transformers

        from lalm_bench.engine.vectors import EncodedAudio
        from lalm_bench.identity import canonical

        runtime = self._runtime
        identity = canonical([self.identity(), transformers.__version__]).decode()
        folder = None if runtime.audio_cache is None else Path(runtime.audio_cache).expanduser()
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"runtime.audio_cache={folder}: {error.strerror}; name a folder to write to"
            ) from error
        return EncodedAudio(identity, _AUDIO_MEMORY, folder, int(runtime.audio_cache_gb * 1e9))

    def _stream(
        self,
        order: Sequence[Request],
        prepare: Callable[[Request], Prepared],
        alike: Callable[[Prepared], Hashable] = lambda item: None,
    ) -> Iterator[Response]:
        from lalm_bench.engine.stream import stream

        yield from stream(
            order,
            prepare,
            self._begin,
            runtime=self._runtime,
            budget=self._budget,
            traffic=self._traffic,
            alike=alike,
        )

    def _begin(self, first: Prepared) -> Batch:
        if first.request.generation.mode == "generate":
            answers: Batch = self.resident.answers()
            return answers
        return self._options.comparison(first.request.generation.mode)

    def report(self) -> dict[str, Json]:
        """Speed, waste, waiting and memory events of all that was answered so far."""
        if self.resident is None:
            return {}
        return {
            **self._traffic.report(),
            **self.resident.report(),
            "batch_tokens": self._budget.tokens,
            "out_of_memory": self._budget.halved,
        }

    def _demand_loaded(self) -> None:
        if self.network is None:
            raise ModelError(f"model {self.name} is not loaded: call load() before answer()")


def demand(value: object, name: str, allowed: tuple[str, ...]) -> None:
    """ConfigError that names what a setting may be."""
    if value not in allowed:
        raise ConfigError(f"model.{name}={value} must be one of {', '.join(allowed)}")
