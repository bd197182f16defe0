"""From a checkpoint's folder to a network, a processor and a template in memory."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError, ModelError, one_line
from lalm_bench.types import Message

DTYPES = ("bfloat16", "float16", "float32", "auto")


def pick_device(wanted: str) -> str:
    """`wanted`, or for `auto` the best that this machine has: cuda, mps, cpu.

    Raises
    ------
    ConfigError
        The device asked for is not there.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in has.items() if there)
    if not has.get(wanted.split(":")[0], False):
        there = ", ".join(name for name, is_there in has.items() if is_there)
        raise ConfigError(
            f"runtime.device={wanted} is not on this machine; it has {there}, or auto"
        )
    return wanted


def load_network(
    folder: Path,
    class_name: str | None,
    *,
    dtype: str,
    device: str,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
    gguf_file: str | None = None,
) -> Any:
    """The network in evaluation mode on `device`.

    Raises
    ------
    ModelError
        No class is named, transformers has none of that name, or the weights do not fit it.
    """
    import torch
    import transformers

    if class_name is None:
        raise ModelError(f"{folder}: config.json names no architecture; set model.model_class")
    network_class = getattr(transformers, class_name, None)
    if network_class is None:
        raise ModelError(
            f"transformers {transformers.__version__} has no {class_name}: upgrade it, set "
            "model.model_class, or for code shipped with the checkpoint set "
            "model.trust_remote_code=true and model.model_class to one of its Auto classes"
        )
    options: dict[str, Any] = {
        "dtype": dtype if dtype == "auto" else getattr(torch, dtype),
        "trust_remote_code": trust_remote_code,
    }
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    if gguf_file is not None:
        options["gguf_file"] = gguf_file
    if device.startswith("cuda"):
        settle_cuda()
    # Extractors repeat one piece of advice for every clip; what matters is raised as an error.
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        network = network_class.from_pretrained(folder, **options)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot load {class_name} ({one_line(error)})") from error
    return network.to(device).eval()


def settle_cuda() -> None:
    """Settings of the process that suit batches of changing size."""
    import torch

    # Blocks that grow: large batches follow many small ones, whose freed memory would not fit them.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    # Featurising runs in threads of ours; threads inside its operations would fight for the cores.
    torch.set_num_threads(1)
    # They also hold the interpreter that the thread which drives the GPU needs for each launch.
    sys.setswitchinterval(2e-4)


def load_processor(auto_class: str, folder: Path, **options: Any) -> Any:
    """`AutoProcessor` or `AutoTokenizer` of the folder.

    Raises
    ------
    ModelError
        Files or packages lack.
    """
    import transformers

    try:
        return getattr(transformers, auto_class).from_pretrained(folder, **options)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot load its {auto_class} ({one_line(error)})") from error


def load_adapter(network: Any, folder: Path, subfolder: str) -> None:
    """Low-rank weights from a subfolder of the checkpoint.

    Raises
    ------
    ModelError
        They are not there, do not fit, or the package peft is missing.
    """
    try:
        network.load_adapter(str(folder / subfolder))
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"{folder}: cannot load its low-rank weights {subfolder} ({one_line(error)}); set "
            "model.adapter='' for a checkpoint without any"
        ) from error


def read_template(wanted: str | None) -> str | None:
    """An override from YAML: Jinja text, or the path of a `.jinja` file.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    if wanted is None or not wanted.endswith(".jinja"):
        return wanted
    try:
        return Path(wanted).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"model.chat_template={wanted}: {error.strerror}; mend the path"
        ) from error


def own_template(processor: Any, folder: Path) -> str | None:
    """The checkpoint's chat template; some processors (Phi-4) drop it on loading."""
    template = getattr(processor, "chat_template", None)
    beside = folder / "chat_template.jinja"
    if template is None and beside.is_file():
        return beside.read_text(encoding="utf-8")
    return template if isinstance(template, str) else None


class PerThread:
    """A copy of `original` for every thread.

    Tokenizers keep their padding and truncation between calls, and processors that come with a
    checkpoint may keep anything.
    """

    def __init__(self, original: Any) -> None:
        self._original = original
        self._copies = threading.local()
        self._copying = threading.Lock()

    def get(self) -> Any:
        """The calling thread's own copy."""
        if not hasattr(self._copies, "value"):
            with self._copying:
                self._copies.value = deepcopy(self._original)
        return self._copies.value


def refusals() -> tuple[type[Exception], ...]:
    """What processors, chat templates and tokenizers raise for what they do not accept."""
    import jinja2

    try:
        from mistral_common.exceptions import MistralCommonException
    except ImportError:
        return (ValueError, jinja2.TemplateError)
    return (ValueError, jinja2.TemplateError, MistralCommonException)


def refused(error: Exception, messages: Sequence[Message]) -> ModelError:
    """What to tell about a request that template, tokenizer or processor did not accept."""
    said = f"{type(error).__name__}: {one_line(error)}"
    if any(m.role == "system" for m in messages):
        return ModelError(f"{said}; the request has a system turn, try model.system_role=prepend")
    return ModelError(f"{said}; the processor or its chat template refuses this request")
