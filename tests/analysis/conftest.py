"""Fixtures of neighbours that analyses need, and reading what they leave."""

from __future__ import annotations

import csv

from tests.compare.conftest import made  # noqa: F401 - a fixture
from tests.judges.conftest import one, stage  # noqa: F401 - fixtures
from tests.models.conftest import checkpoint  # noqa: F401 - a fixture


def table(folder, name):
    """Rows of `<name>.csv`, as dictionaries."""
    with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(row, name):
    return float(row[name])
