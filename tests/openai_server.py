"""Stand-ins for an OpenAI-compatible server: they answer by rule, late or badly on purpose.

    python tests/openai_server.py [--latency 0.2] [--faults drop 500 ...]

prints its base URL and serves until it is stopped; `GET /stats` tells what it saw. A language
model it is not: the answer is a letter drawn from the request, so that equal requests get equal
answers.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable

# What can go wrong, by name; None answers properly.
FAULTS = ("429", "429_later", "500", "drop", "garbage", "drip", "400", "401", "filtered")
DRIP_S = 30.0


class Server:
    """Counts what it is asked and answers after `latency` seconds.

    Parameters
    ----------
    latency : float
        Seconds between the end of a request and the start of its answer.
    fault : callable
        (number of the request in order of first arrival, attempts before this one, body) -> the
        name of a fault, or None. Equal bodies are one request.
    parse : bool
        Look into the requests and keep them in `bodies`; off, only their bytes are compared.
    """

    def __init__(
        self,
        latency: float = 0.0,
        fault: Callable[[int, int, bytes], str | None] = lambda number, before, body: None,
        parse: bool = True,
        retry_after: str = "1",
        reply: Callable[[dict], dict] | None = None,
    ) -> None:
        self.latency, self.fault, self.parse = latency, fault, parse
        self.retry_after, self.reply = retry_after, reply
        self.connections = self.busy = self.peak = self.bytes = 0
        self.attempts: Counter[int] = Counter()
        self._numbers: dict[int, int] = {}
        self.successes: Counter[int] = Counter()
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.moments: dict[int, list[float]] = {}
        self._tasks: set[asyncio.Task] = set()

    def stats(self) -> dict:
        """Counts so far; `answered_twice` counts requests that came again after a success."""
        return {
            "connections": self.connections,
            "peak": self.peak,
            "requests": len(self.attempts),
            "attempts": self.attempts.total(),
            "successes": self.successes.total(),
            "asked_twice": sum(n > 1 for n in self.attempts.values()),
            "answered_twice": sum(n > 1 for n in self.successes.values()),
            "bytes": self.bytes,
        }

    async def start(self, port: int = 0) -> str:
        """Listen on the loopback interface; return the base URL."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=1 << 20, backlog=512
        )
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        """Stop listening and drop what is open."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # gone, or stopped: asyncio would report a cancelled connection as a fault
        finally:
            writer.close()

    async def _exchange(self, reader, writer) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if first.startswith("GET /stats"):
            self.connections -= 1  # whoever looks is not counted
            writer.write(_message(200, json.dumps(self.stats()).encode(), close=True))
            return False
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            return await self._answer(headers, body, writer)
        finally:
            self.busy -= 1

    async def _answer(self, headers, body, writer) -> bool:
        name, before = hash(body), self.attempts[hash(body)]
        self.attempts[name] += 1
        self.moments.setdefault(name, []).append(time.monotonic())
        self.bytes += len(body)
        fault = self.fault(self._numbers.setdefault(name, len(self._numbers)), before, body)
        answer = self._completion(body, name)
        if self.parse:
            self.headers.append(headers)
        await asyncio.sleep(self.latency)
        if fault is None or fault == "filtered":
            if fault:
                answer["choices"][0] |= {"finish_reason": "content_filter"}
            self.successes[name] += fault is None
            writer.write(_message(200, json.dumps(answer).encode()))
            await writer.drain()
            return True
        return await self._fail(fault, answer, writer)

    async def _fail(self, fault: str, answer: dict, writer) -> bool:
        whole = _message(200, json.dumps(answer).encode())
        if fault == "drop":
            writer.write(whole[: len(whole) // 2])
            await writer.drain()
            return False
        if fault == "drip":
            for byte in whole:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(DRIP_S / len(whole))
            return True
        if fault == "garbage":
            writer.write(_message(200, b'{"choices": [{"mess'))
            return True
        status = int(fault.partition("_")[0])
        later = (f"Retry-After: {self.retry_after}",) if fault.endswith("_later") else ()
        said = {"error": {"message": f"test fault {fault}; key sk-abcdefghijklmnop1234567890"}}
        writer.write(_message(status, json.dumps(said).encode(), later))
        await writer.drain()
        return True

    def _completion(self, body: bytes, name: int) -> dict:
        usage = {"prompt_tokens": 50, "completion_tokens": 2, "total_tokens": 52}
        text = "AB"[zlib.crc32(body) % 2]
        if self.parse:
            asked = json.loads(body)
            self.bodies.append(asked)
            usage |= {"prompt_tokens_details": {"audio_tokens": 5 * len(clips(asked))}}
            if self.reply:
                return self.reply(asked)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        return {"choices": [choice | {"finish_reason": "stop"}], "usage": usage}


def clips(body: dict) -> list[bytes]:
    """The WAV files that a request carries, whichever form they have."""
    found = []
    for message in body["messages"]:
        parts = message["content"] if isinstance(message["content"], list) else []
        for part in parts:
            if part["type"] == "input_audio":
                assert part["input_audio"]["format"] == "wav"
                found.append(base64.b64decode(part["input_audio"]["data"], validate=True))
            elif part["type"] == "audio_url":
                kind, data = part["audio_url"]["url"].split(",", 1)
                assert kind == "data:audio/wav;base64"
                found.append(base64.b64decode(data, validate=True))
    return found


def _message(status: int, body: bytes, more: tuple[str, ...] = (), close: bool = False) -> bytes:
    lines = (
        f"HTTP/1.1 {status} -",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(("Connection: close",) if close else ()),
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def running(server: Server, port: int = 0):
    """Serve from a thread of this process; gives the base URL."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    found = []

    def work() -> None:
        asyncio.set_event_loop(loop)
        found.append(loop.run_until_complete(server.start(port)))
        ready.set()
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=work, name="openai_server")
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _main(chosen: argparse.Namespace) -> None:
    # Each fault befalls the first attempts of every so many requests.
    def fault(number: int, before: int, body: bytes) -> str | None:
        faults = chosen.faults
        return faults[number % len(faults)] if faults and before < chosen.times else None

    server = Server(chosen.latency, fault, parse=bool(chosen.faults))
    print(await server.start(chosen.port), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=[])
    parser.add_argument("--times", type=int, default=1, help="attempts of a request that fail")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
