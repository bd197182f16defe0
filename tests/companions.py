"""torchvision and torchaudio beside a CPU build of torch, for tests only.

On Linux, PyPI has both for CUDA alone: beside torch for CPU their compiled parts do not load, and
importing them fails. What processors use of them is Python. They lie in a folder of their own
(`make test` puts them there), so that nothing but the tests ever meets them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "vision"


def provide() -> None:
    """Make the folder's packages importable; must run before transformers is imported.

    Does nothing without the folder, or where torchvision is installed like any other package.
    """
    if FOLDER.is_dir() and importlib.util.find_spec("torchvision") is None:
        sys.path.append(str(FOLDER))
        sys.meta_path.insert(0, _Stubs())


class _Stubs(MetaPathFinder):
    """Puts stubs in place of the compiled parts the moment one of the packages is looked for.

    Not sooner: it takes importing torch, which most tests can do without.
    """

    _library: Any = None

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Never finds anything itself."""
        if name in ("torchvision", "torchaudio"):
            sys.meta_path.remove(self)
            self._put()

    def _put(self) -> None:
        import torch

        if not _loads(torch, FOLDER / "torchvision" / "_C.so"):
            # Kept in a class attribute, because the declarations go with the object.
            _Stubs._library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                declared = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                _Stubs._library.define(operator + declared)
        if not _loads(torch, FOLDER / "torchaudio" / "lib" / "_torchaudio.abi3.so"):
            stub: Any = types.ModuleType("torchaudio._extension")
            stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = False
            stub.fail_if_no_align = lambda function: function
            stub._check_cuda_version = lambda: None
            sys.modules["torchaudio._extension"] = stub


def _loads(torch: Any, library: Path) -> bool:
    try:
        torch.ops.load_library(library)
    except OSError:
        return False
    return True
