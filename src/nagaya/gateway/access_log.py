"""Log lines, JSON or text, on standard error, collected and written together so that a request costs microseconds."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from nagaya.gateway.request import Request

_FLUSH_BYTES = 32 * 1024


class Log:
    """Collects JSON lines; `flush` is called by the gateway's clock and whenever much has gathered."""

    def __init__(self, descriptor: int = 2, *, requests: bool = True, form: str = "json") -> None:
        self._text = form == "text"
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._size = 0
        self.requests = requests

    def write(self, event: str, **values: Any) -> None:
        """Add one line. Callers pass neither credentials nor query strings."""
        now = round(time.time(), 3)
        if self._text:
            line = f"{now} {event} " + " ".join(
                f"{key}={json.dumps(value, default=str)}" for key, value in values.items()
            )
        else:
            line = json.dumps({"time": now, "event": event} | values, default=str)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _FLUSH_BYTES:
            self.flush()

    def request(self, request: Request, status: int, sent: int) -> None:
        """Add the line of a request that ended; `status` is 0 if the client left before an answer, `sent` bytes."""
        self.write(
            "request",
            request_id=request.request_id.decode(),
            address=request.address,
            tenant=request.tenant_id,
            route=request.route_class,
            method=request.method.decode(),
            path=request.target.partition(b"?")[0][:256].decode("latin-1"),
            status=status,
            ms=round((time.perf_counter() - request.started) * 1000, 2),
            received=request.body.received,
            sent=sent,
        )

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
