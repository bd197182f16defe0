"""What a number depends on beyond its configuration: versions, code, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError

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
# Environment variables whose values are secrets, by their names.
_SECRET_VARIABLE = re.compile(r"(?i)(TOKEN|PASSWORD|PASSWD|SECRET|(^|_)(API)?KEY)$")
_SECRET_CHARS = 8  # shorter values are words like `none` more often than secrets
# Settings that would hold a secret, and values that look like one.
_SECRET_SETTING = re.compile(
    r"(?i)(.*_)?(api_?key|password|passwd|secret|authorization|(access|auth|api|bearer|hf)_token)"
    r"|token"
)
_SECRET_VALUE = re.compile(
    r"(?i)://[^/@\s$]*:[^/@\s${]+@"
    r"|\b(sk|hf|gsk|xai|ghp|glpat)[-_](?=[\w-]*\d)[\w-]{16,}"
    r"|\bbearer\s+[^\s$]{8,}"
)
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def public(value: Any) -> Any:
    """The value without passwords: none in URLs, none of this process's environment, at any depth.

    Examples
    --------
    >>> public({"uri": "http://me:secret@host/x"})
    {'uri': 'http://host/x'}
    """
    secrets = {
        secret
        for name, secret in os.environ.items()
        if len(secret) >= _SECRET_CHARS and _SECRET_VARIABLE.search(name)
    }
    return _public(value, sorted(secrets, key=len, reverse=True))


def _public(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        value = _USERINFO.sub("", value)
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, dict):
        return {k: _public(v, secrets) for k, v in value.items()}
    return [_public(v, secrets) for v in value] if isinstance(value, list) else value


def demand_secrets_apart(config: Mapping[str, Any]) -> None:
    """Refuse a configuration in which somebody wrote a password or a key itself.

    It would stand in process lists, in the records of sweeps and in logs, all before anything could
    remove it.

    Parameters
    ----------
    config : mapping
        Unresolved: `${oc.env:NAME}` is how a secret is given.

    Raises
    ------
    ConfigError
        Names the setting; the secret is not repeated.
    """
    for key, value in _leaves(config, ""):
        name = key.rpartition(".")[2]
        if name == "api_key_env":
            if not _VARIABLE.fullmatch(value) or _SECRET_VALUE.search(value):
                raise ConfigError(
                    f"{key} must be the name of an environment variable that holds the key, not "
                    f"the key: export NAME=..., then {key}=NAME"
                )
        elif _SECRET_VALUE.search(value) or (_SECRET_SETTING.fullmatch(name) and "${" not in value):
            raise ConfigError(
                f"{key} holds a secret, which others would see in process lists and records: "
                f"export NAME=..., then '{key}=${{oc.env:NAME}}' (with the quotes)"
            )


def _leaves(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Dotted name and text of every text in a configuration."""
    if isinstance(node, str) and node:
        yield key, node
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _leaves(value, key)


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
