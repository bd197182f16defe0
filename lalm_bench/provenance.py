"""What a number depends on beyond its configuration: versions, code, machine."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "lalm_bench",
    "hydra-core",
    "omegaconf",
    "torch",
    "transformers",
    "mlflow",
    "numpy",
    "scipy",
    "pandas",
    "soundfile",
    "soxr",
)


_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def public(value: Any) -> Any:
    """The value without user names and passwords inside URLs, at any depth.

    Examples
    --------
    >>> public({"uri": "http://me:secret@host/x"})
    {'uri': 'http://host/x'}
    """
    if isinstance(value, str):
        return _USERINFO.sub("", value)
    if isinstance(value, dict):
        return {k: public(v) for k, v in value.items()}
    return [public(v) for v in value] if isinstance(value, list) else value


def now() -> str:
    """UTC time, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Installed versions of what may change a result; None for what is absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout that the code runs from; None outside one."""
    package = Path(__file__).resolve().parent
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None or _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    changed = _git(package.parent, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "clean": changed == ""}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def host() -> dict[str, str]:
    """Machine and command, for finding a run again."""
    return {"node": platform.node(), "system": platform.platform(), "python": sys.executable}
