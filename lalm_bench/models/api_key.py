"""The secret that opens a server: where it comes from, and how it stays out of every message."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from lalm_bench.provenance import public

_TOKENS = re.compile(
    r"(?i)\bbearer\s+\S+"
    r"|\b(?:sk|pk|key|hf|gsk|xai)[-_][\w*.-]{6,}"
    r"|(?<![\w/.-])(?=\w*\d)\w{32,}"
)


@dataclass(frozen=True)
class Key:
    """A secret and the environment variable that it was looked for in.

    Parameters
    ----------
    variable : str, optional
        None: the server wants no key.
    value : str, optional
        None: the variable is not set. Not shown when the object is printed.
    """

    variable: str | None
    value: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, variable: str | None) -> Key:
        """From the environment or, where it lacks the variable, from `.env` in this folder."""
        value = os.environ.get(variable) if variable else None
        if variable and not value and Path(".env").is_file():
            import dotenv

            value = dotenv.dotenv_values(".env").get(variable)
        return cls(variable, value or None)

    @property
    def remedy(self) -> str:
        """What to do when the server wants another key."""
        if self.variable is None:
            return "name the variable that holds a key: model.endpoint.api_key_env=NAME"
        if self.value is None:
            return f"{self.variable} is neither in the environment nor in .env: put a key there"
        return f"{self.variable} holds a key that is not valid there: mend it"

    def removed(self, text: str) -> str:
        """`text` on one line, without this key, without what looks like one, without passwords.

        Examples
        --------
        >>> Key("API_KEY", "hunter2").removed("no hunter2, no sk-abc123456, no Bearer xyz")
        'no ***, no ***, no ***'
        """
        if self.value:
            text = text.replace(self.value, "***")
        return " ".join(_TOKENS.sub("***", public(text)).split())
