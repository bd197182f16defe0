"""The Hugging Face hub: what its local cache holds, whether it can be reached, fetching from it."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from lalm_bench.errors import ModelError, one_line

_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
# Formats that transformers would not read beside safetensors; several repositories hold the weights
# twice.
_NOT_NEEDED = ["*.pth", "*.msgpack", "*.h5", "*.onnx", "*.gguf", "original/*", "consolidated*"]


def is_id(path: str) -> bool:
    """True for what can name a repository on the hub (`owner/name`)."""
    return _ID.fullmatch(path) is not None


def snapshot(repo: str, revision: str | None, file: str) -> Path | None:
    """Folder of the locally cached snapshot that holds `file`; its name is the commit."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, file, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def offline() -> bool:
    """True when the user has switched the hub off (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def reachable(timeout: float = 3.0) -> bool:
    """True when the hub, or the proxy in front of it, accepts a connection within `timeout` s."""
    from huggingface_hub import constants

    target = urlsplit(constants.ENDPOINT)
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (80 if target.scheme == "http" else 443)
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((target.hostname or "", port), timeout).close()
        except OSError:
            return
        answered.set()

    # Name look-up knows no time-out of its own, so it gets a thread that may be left behind.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


def download(repo: str, revision: str | None, file: str | None, licence_url: str | None) -> Path:
    """Fetch a snapshot and return its folder.

    Parameters
    ----------
    file : str, optional
        The one weight file wanted (GGUF); all safetensors when left out, or the older formats of a
        repository without any.

    Raises
    ------
    ModelError
        The repository is gated, unknown or cannot be read; says what to do.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        if file is not None:
            wanted = [file, "*.json", "*.jinja", "*.txt", "*.model"]
            return Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
        ignored = [*_NOT_NEEDED, "*.bin"]
        folder = Path(snapshot_download(repo, revision=revision, ignore_patterns=ignored))
        if not any(folder.glob("*.safetensors")):
            snapshot_download(repo, revision=revision, ignore_patterns=_NOT_NEEDED)
        return folder
    except GatedRepoError as error:
        raise ModelError(
            f"{repo} is gated: accept its licence at {licence_url or _page(repo)} and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{repo} is neither a local folder nor a repository on the hub that you may read: "
            "mend model.path, or set HF_TOKEN for a private one"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot fetch {repo} from the hub ({one_line(error)}): "
            f"{instruction(repo, revision, licence_url)}"
        ) from error


def instruction(repo: str, revision: str | None, licence_url: str | None) -> str:
    """What a user does to have the weights."""
    command = f"hf download {repo}" + (f" --revision {revision}" if revision else "")
    gated = f" (gated: accept the licence at {licence_url} and set HF_TOKEN)" if licence_url else ""
    return f"run '{command}'{gated}, or set model.path to a local folder"


def _page(repo: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}"
