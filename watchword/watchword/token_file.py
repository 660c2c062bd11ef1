"""Where `watchword login` keeps tokens: one file that its owner alone can read, changed by one command at a time."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

Tokens = dict[str, JsonValue]


class TokenFile:
    """Tokens by where they came from. Another command waits until `opened` ends: no refresh token is sent twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, Tokens] = {}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "TokenFile":
        """That of who runs the command."""
        base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".config")
        return cls(Path(base) / "watchword" / "tokens.json")

    @contextmanager
    def opened(self) -> Iterator["TokenFile"]:
        """Held by this command. Raises OSError, and ValueError when the file holds something else."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._kept = json.loads(self._path.read_text()) if self._path.exists() else {}
            yield self
        finally:
            os.close(lock)

    def get(self, source: str) -> Tokens:
        """What is kept, or nothing."""
        return self._kept.get(source, {})

    def put(self, source: str, tokens: Tokens) -> None:
        """Kept instead of what was there."""
        self._kept[source] = tokens
        new = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w") as opened:
            json.dump(self._kept, opened)
        new.replace(self._path)
