"""Ranges of plain settings, checked where they are given."""

from __future__ import annotations

from lalm_bench.errors import ConfigError


def demand_numbers(
    owner: object,
    *,
    optional: tuple[str, ...] = (),
    **ranges: tuple[type, float, float | None],
) -> None:
    """ConfigError for the first attribute of `owner` outside its (kind, least, greatest).

    `kind` is int or float; None as greatest sets no bound, and names in `optional` may be None.
    """
    for name, (kind, low, high) in ranges.items():
        value = getattr(owner, name)
        if value is None and name in optional:
            continue
        fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
        if not fits or not low <= value <= (float("inf") if high is None else high):
            number = "a whole number" if kind is int else "a number"
            span = f"from {low}" if high is None else f"from {low} to {high}"
            raise ConfigError(f"task.{name}={value!r} must be {number} {span}; mend it")
