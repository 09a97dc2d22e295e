"""Structured log lines on standard error, collected and written together so that a request costs microseconds."""

from __future__ import annotations

import json
import os
import time
from typing import Any

_FLUSH_BYTES = 32 * 1024


class Log:
    """Collects JSON lines; `flush` is called by the gateway's clock and whenever much has gathered."""

    def __init__(self, descriptor: int = 2, *, requests: bool = True) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._size = 0
        self.requests = requests

    def write(self, event: str, **values: Any) -> None:
        """Add one line. Callers pass neither credentials nor query strings."""
        line = json.dumps({"time": round(time.time(), 3), "event": event} | values, default=str)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered. A reader that went away must not take the gateway with it."""
        if not self._lines:
            return
        data = ("\n".join(self._lines) + "\n").encode()
        self._lines.clear()
        self._size = 0
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return
