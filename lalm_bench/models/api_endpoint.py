"""An OpenAI-compatible server: where it is, how hard and how long to ask it, and what that costs.

Nothing here changes an answer, except that another address is another server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from lalm_bench.engine.concurrent import AdaptiveLimit, Limit
from lalm_bench.errors import ConfigError
from lalm_bench.types import Json

ADAPTIVE = "adaptive"
PRICES = ("input", "audio", "output")


@dataclass
class Endpoint:
    """Address, key, patience and prices.

    Parameters
    ----------
    base_url : str
        What comes before `/chat/completions`.
    api_key_env : str, optional
        Environment variable that holds the key; a `.env` file in the working folder is read where
        the environment lacks it. Sent as a bearer token when it is there.
    max_in_flight : int or str
        Most requests at once, or `adaptive`: more while the server bears it, fewer when it answers
        429 or 503 or not in time.
    timeout_s : float
        Most seconds for one attempt, from connecting to the last byte.
    max_retries : int
        Attempts after the first.
    backoff_s : float
        Wait before the first retry, seconds; it doubles, up to a minute, less a random part.
    prices : mapping, optional
        Per million tokens: `input`, `output`, and `audio` where audio input has a price of its own.

    Raises
    ------
    ConfigError
        A setting is out of range.
    """

    base_url: str
    api_key_env: str | None = "OPENAI_API_KEY"
    max_in_flight: int | str = 64
    timeout_s: float = 300.0
    max_retries: int = 6
    backoff_s: float = 0.5
    prices: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        url = urlsplit(str(self.base_url))
        plain = url.scheme in ("http", "https") and url.hostname and not url.query
        _demand(plain, "base_url", "must be like http://host:8000/v1, without a query")
        most = self.max_in_flight
        fits = most == ADAPTIVE or (isinstance(most, int) and most > 0)
        _demand(fits, "max_in_flight", f"must be a positive whole number or {ADAPTIVE}")
        _demand(self.timeout_s > 0, "timeout_s", "must be more than 0")
        _demand(self.max_retries >= 0, "max_retries", "must be 0 or more")
        _demand(self.backoff_s >= 0, "backoff_s", "must be 0 or more")
        prices = self.prices or {"input": 0, "output": 0}
        known = {"input", "output"} <= prices.keys() <= set(PRICES)
        fits = known and all(isinstance(price, int | float) for price in prices.values())
        _demand(fits, "prices", "must be numbers called input, output and, if need be, audio")

    def limit(self) -> Limit:
        """A fresh limit for one stream of requests."""
        if self.max_in_flight == ADAPTIVE:
            return AdaptiveLimit()
        return Limit(int(self.max_in_flight))


@dataclass
class Traffic:
    """What went over the wire."""

    answers: int = 0
    refused: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    seconds: float = 0.0
    tokens: Counter[str] = field(default_factory=Counter)

    def report(self, prices: Mapping[str, float] | None) -> dict[str, Json]:
        """Counts, speed and, where there are prices, the cost of what was answered."""
        facts: dict[str, Json] = {
            "requests": self.answers + self.refused,
            "refused": self.refused,
            "retries": dict(sorted(self.retries.items())),
            "connections": self.connections,
            "peak_in_flight": self.peak_in_flight,
            "requests_per_s": (self.answers + self.refused) / self.seconds if self.seconds else 0.0,
            **dict(sorted(self.tokens.items())),
        }
        if prices:
            heard = self.tokens["audio_tokens"] if "audio" in prices else 0
            facts["cost"] = (
                (self.tokens["input_tokens"] - heard) * prices["input"]
                + heard * prices.get("audio", 0.0)
                + self.tokens["output_tokens"] * prices["output"]
            ) / 1e6
        return facts


def _demand(holds: object, name: str, rule: str) -> None:
    if not holds:
        raise ConfigError(f"model.endpoint.{name} {rule}")
