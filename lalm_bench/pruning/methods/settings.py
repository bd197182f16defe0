"""Settings of methods, refused in one line where they are wrong."""

from __future__ import annotations

from lalm_bench.errors import ConfigError


def demand_whole(setting: str, value: object, least: int) -> None:
    """ConfigError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"pruning.method.{setting}={value!r} must be a whole number of at least {least}"
        )
