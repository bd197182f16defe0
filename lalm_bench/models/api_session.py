"""Asking an OpenAI-compatible server over one pool of connections until it answers."""

from __future__ import annotations

import asyncio
import email.utils
import math
import random
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lalm_bench.engine.concurrent import Limit
from lalm_bench.errors import ModelError
from lalm_bench.models.api_endpoint import Endpoint, Traffic
from lalm_bench.models.api_key import Key
from lalm_bench.models.api_replies import Refused, Trouble, completion
from lalm_bench.provenance import public

if TYPE_CHECKING:
    import aiohttp

_LONGEST_BACKOFF_S = 60.0
_LONGEST_RETRY_AFTER_S = 600.0
_CONNECT_S = 30.0
# What is larger is written piece by piece, so that no body holds up the others.
_PIECE = 1 << 20


class Session:
    """One pool of connections and the retries over it. See `session`."""

    def __init__(self, endpoint: Endpoint, key: Key, limit: Limit, traffic: Traffic) -> None:
        self._endpoint, self._key, self._limit, self._traffic = endpoint, key, limit, traffic
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._shown = public(endpoint.base_url)
        self._pool: aiohttp.ClientSession
        self._not_before = 0.0
        self._met = False
        self._last_answer = 0.0

    async def post(self, body: bytes | memoryview) -> dict[str, Any]:
        """The server's answer to `body`, a checked chat completion.

        Raises
        ------
        Refused
            This request gets no answer; others may.
        ModelError
            No request would: the server is away, wants another key, or has no such model.
        """
        traffic, retries, failing_since = self._traffic, 0, math.inf
        while True:
            await self._turn()
            began = time.monotonic()
            traffic.in_flight += 1
            traffic.peak_in_flight = max(traffic.peak_in_flight, traffic.in_flight)
            try:
                answer = await self._attempt(body)
            except Trouble as trouble:
                failing_since = min(failing_since, time.monotonic())
                if trouble.overload:
                    self._limit.overloaded(began)
                if retries == self._endpoint.max_retries:
                    raise self._gave_up(trouble, retries, failing_since) from None
                waiting = self._wait(trouble, retries)
                traffic.retries[trouble.cause] += 1
            else:
                self._last_answer = time.monotonic()
                self._limit.answered()
                return answer
            finally:
                traffic.in_flight -= 1
            retries += 1
            await asyncio.sleep(waiting)

    async def _attempt(self, body: bytes | memoryview) -> dict[str, Any]:
        import aiohttp

        data = body if len(body) <= _PIECE else _pieces(body)
        length = {"Content-Length": str(len(body))}
        try:
            async with self._pool.post(
                self._url, data=data, headers=length, allow_redirects=False
            ) as reply:
                content = await reply.read()
                self._met = True
        except aiohttp.ClientSSLError as error:
            raise ModelError(
                f"{self._shown}: no secure connection ({error}); for a certificate of your own, "
                "set SSL_CERT_FILE"
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if not self._met:
                raise self._away(reason) from error
            raise Trouble("unreachable", reason) from error
        except TimeoutError as error:
            raise Trouble("timeout", f"no answer within {self._endpoint.timeout_s:g} s") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Trouble("dropped", f"connection lost ({type(error).__name__})") from error
        try:
            return completion(reply.status, reply.headers, content, self._key)
        except ModelError as error:
            raise ModelError(f"{self._shown}: {error}") from None

    def _away(self, said: str) -> ModelError:
        return ModelError(
            f"{self._shown} cannot be reached ({said}); start the server or mend "
            "model.endpoint.base_url, then run the same command again"
        )

    def _gave_up(self, trouble: Trouble, retries: int, since: float) -> Exception:
        """Whether one request failed or, nothing having been answered meanwhile, the server did."""
        if trouble.away and self._last_answer < since:
            return self._away(str(trouble))
        return Refused(f"no answer in {retries + 1} attempts, the last: {trouble}")

    def _wait(self, trouble: Trouble, retries: int) -> float:
        """Seconds until the next attempt; what the server asks for holds for all requests."""
        asked = _seconds(trouble.retry_after)
        if asked is not None:
            if asked > _LONGEST_RETRY_AFTER_S:
                raise ModelError(
                    f"{self._shown} asks to wait {asked:.0f} s ({trouble}); "
                    "run the same command again then, or with fewer requests at once: "
                    "model.endpoint.max_in_flight=N"
                )
            self._not_before = max(self._not_before, time.monotonic() + asked)
            return 0.0
        longest = min(self._endpoint.backoff_s * 2.0**retries, _LONGEST_BACKOFF_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311

    async def _turn(self) -> None:
        """Wait for as long as the server wants to be left alone, then not all at the same time."""
        while (left := self._not_before - time.monotonic()) > 0:
            spread = random.uniform(0.0, self._endpoint.backoff_s)  # noqa: S311
            await asyncio.sleep(left + spread)


@asynccontextmanager
async def session(
    endpoint: Endpoint, key: Key, limit: Limit, traffic: Traffic
) -> AsyncIterator[Session]:
    """Open the pool, with room for as many connections as may ever be in flight."""
    import aiohttp

    opened = Session(endpoint, key, limit, traffic)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key.value and not urlsplit(endpoint.base_url).username:
        headers["Authorization"] = f"Bearer {key.value}"

    async def note_connection(*_: object) -> None:
        traffic.connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(note_connection)
    timeout = aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=_CONNECT_S)
    began = time.monotonic()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit.ceiling),
        timeout=timeout,
        headers=headers,
        trace_configs=[trace],
        proxy=_proxy(endpoint.base_url),
    ) as opened._pool:
        try:
            yield opened
        finally:
            traffic.seconds += time.monotonic() - began


async def _pieces(body: bytes | memoryview) -> AsyncIterator[bytes | memoryview]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; aiohttp would look it up at each request."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _seconds(retry_after: str | None) -> float | None:
    """The header's number of seconds or date as seconds from now; None where it says neither."""
    if retry_after is None:
        return None
    try:
        left = float(retry_after)
    except ValueError:
        try:
            left = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return max(left, 0.0) if math.isfinite(left) else None
