"""What an OpenAI-compatible server's reply means: an answer, a reason to try again, or an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from lalm_bench.errors import ModelError
from lalm_bench.models.api_key import Key

_TELL = 300
_OVERLOAD = frozenset({"429", "503", "timeout"})
_AWAY = frozenset({"unreachable", "502", "503", "504"})


class Refused(Exception):  # noqa: N818 - the server's word on one request, not a fault of ours
    """One request gets no answer; others may."""


class Trouble(Exception):  # noqa: N818 - a passing state of the server
    """An attempt that failed for a reason that may pass.

    Parameters
    ----------
    cause : str
        A status, or timeout, dropped, garbage, unreachable.
    told : str
        The server's or the network's words.
    retry_after : str, optional
        The header of that name.
    """

    def __init__(self, cause: str, told: str = "", retry_after: str | None = None) -> None:
        super().__init__(f"{cause}: {told}" if told else cause)
        self.cause, self.retry_after = cause, retry_after

    @property
    def overload(self) -> bool:
        """Whether fewer requests at once would have helped."""
        return self.cause in _OVERLOAD

    @property
    def away(self) -> bool:
        """Whether there may be nobody behind the address."""
        return self.cause in _AWAY


def completion(status: int, headers: Mapping[str, str], content: bytes, key: Key) -> dict[str, Any]:
    """The chat completion in a reply.

    Raises
    ------
    Trouble
        Worth another attempt.
    Refused
        Not worth one.
    ModelError
        No request will fare better: no access, no such model, nothing left to spend.
    """
    if status == 200:
        return _parsed(content, key)
    words = said(content, key)
    told = f"{status}: {words}" if words else str(status)
    if status == 429 and b"insufficient_quota" in content:
        raise ModelError(f"the account has nothing left to spend ({told})")
    if status in (408, 429) or status >= 500:
        raise Trouble(str(status), words, headers.get("Retry-After"))
    if status in (401, 402, 403):
        raise ModelError(f"access is refused ({told}); {key.remedy}")
    if status in (404, 405) or status < 400:
        raise ModelError(
            f"no such model or address ({told}); mend model.served_name or model.endpoint.base_url"
        )
    raise Refused(f"the server refuses this request ({told})")


def _parsed(content: bytes, key: Key) -> dict[str, Any]:
    try:
        answer = orjson.loads(content)
        if isinstance(answer["choices"][0]["message"], dict):
            return dict(answer)
    except (ValueError, LookupError, TypeError):
        pass
    raise Trouble("garbage", said(content, key))


def said(content: bytes, key: Key) -> str:
    """The message in an error reply: one short line without keys.

    Examples
    --------
    >>> said(b'{"error": {"message": "Incorrect API key: sk-abc123456"}}', Key(None))
    'Incorrect API key: ***'
    >>> said(b"<html>Bad  gateway</html>", Key(None))
    '<html>Bad gateway</html>'
    """
    try:
        node = orjson.loads(content)
    except ValueError:
        node = content.decode("utf-8", "replace")
    for name in ("error", "detail", "message"):
        if isinstance(node, dict) and node.get(name):
            node = node[name]
    text = key.removed(node if isinstance(node, str) else orjson.dumps(node).decode())
    return text if len(text) <= _TELL else f"{text[:_TELL]} ..."
