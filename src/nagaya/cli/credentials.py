"""The credentials that `nagaya login` keeps: one entry per platform URL, in a file that only its owner can read."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nagaya.cli.errors import CliError

LEEWAY = 30
"""Seconds before its expiry from which a token is not used any more."""


def credentials_path() -> Path:
    """`nagaya/credentials.json` in the XDG configuration directory."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "nagaya" / "credentials.json"


@dataclass
class Credential:
    """What one platform gave us: a token with its expiry (Unix time, seconds), or an API key that gets us tokens."""

    token: str | None = None
    expires: float | None = None
    api_key: str | None = None

    def live_token(self) -> str | None:
        """The token, unless it has expired or is about to."""
        if self.token and (self.expires is None or self.expires - LEEWAY > time.time()):
            return self.token
        return None


@dataclass
class Credentials:
    """The whole file: credentials by URL, and the URL that was signed in to last."""

    current: str | None = None
    platforms: dict[str, Credential] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Credentials:
        """Reads the file; a missing one is an empty one.

        Raises:
            CliError: the file is damaged.
        """
        path = credentials_path()
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return cls(raw["current"], {url: Credential(**entry) for url, entry in raw["platforms"].items()})
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CliError(f"{path} cannot be read; remove it and sign in again with `nagaya login`.") from error

    def save(self) -> None:
        """Writes the file (mode 0600, replaced in one step).

        Raises:
            CliError: the directory cannot be written.
        """
        path = credentials_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes the file with mode 0600, so that there is no moment in which others could read it.
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".credentials-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            raise CliError(f"Credentials cannot be stored in {path}: {error.strerror}.") from error

    def put(self, url: str, credential: Credential) -> None:
        """Stores the credential of `url`, makes that the current platform, and writes the file."""
        self.platforms[url] = credential
        self.current = url
        self.save()

    def remove(self, url: str) -> bool:
        """Forgets `url`; returns whether there was something to forget."""
        known = self.platforms.pop(url, None) is not None
        if self.current == url:
            self.current = next(iter(self.platforms), None)
        if known:
            self.save()
        return known
