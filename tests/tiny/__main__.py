"""Build the named families, or all."""

from __future__ import annotations

import sys
from pathlib import Path

from tests import companions, tiny


def main(arguments: list[str]) -> None:
    """`OUT [FAMILY ...]`."""
    if not arguments:
        sys.exit(f"usage: python -m tests.tiny OUT [{' '.join(tiny.FAMILIES)}]")
    companions.provide()
    for family in arguments[1:] or tiny.FAMILIES:
        if family not in tiny.FAMILIES:
            sys.exit(f"no family {family}; choose from {', '.join(tiny.FAMILIES)}")
        lacks = tiny.lacking(family)
        if lacks and not arguments[1:]:
            print(f"{family}: left out, needs {', '.join(lacks)}", file=sys.stderr)
            continue
        if lacks:
            sys.exit(f"{family} needs {', '.join(lacks)}: run make test once, or install them")
        print(tiny.build(family, Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
