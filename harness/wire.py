"""A small HTTP client over TCP or a unix socket, so that the client costs the same on every side of a comparison."""

import http.client
import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class TlsConnection(http.client.HTTPSConnection):
    """A connection to this machine that asks for a server by another name."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


@dataclass(frozen=True)
class Address:
    """Where a server listens: a unix socket's path or a TCP port of this host, and the prefix in front of its paths.

    With a `context` TLS is spoken there; `host` is the name to ask for, if it is another than the address.
    """

    socket: str | None = None
    port: int | None = None
    prefix: str = ""
    host: str | None = None
    context: ssl.SSLContext | None = None

    def connect(self, timeout: float = 60.0) -> http.client.HTTPConnection:
        """Returns a connection that opens at its first request."""
        if self.socket is not None:
            return UnixConnection(self.socket, timeout)
        if self.context is not None:
            return TlsConnection(self.host or "127.0.0.1", self.port or 443, self.context, timeout)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)


@dataclass(frozen=True)
class Answer:
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """Returns the decoded body."""
        return json.loads(self.body)


class Caller:
    """Sends requests to one server over one kept-alive connection.

    Args:
        address: The server.
        token: Bearer token for every request.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.address = address
        self.token = token
        self.connection = address.connect()

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Sends one request.

        Args:
            method: HTTP method.
            path: Path below the address's prefix.
            body: JSON body.
            form: Form fields, instead of `body`.
            token: Bearer token instead of the caller's.
        """
        headers = {"Accept": "application/json"}
        data: bytes | None = None
        if form is not None:
            data, headers["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if bearer := token or self.token:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            self.connection.request(method, self.address.prefix + path, body=data, headers=headers)
            response = self.connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def expect(self, method: str, path: str, status: int = 200, **arguments: Any) -> Answer:
        """Sends one request and raises unless it is answered with `status`."""
        answer = self.call(method, path, **arguments)
        if answer.status != status:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:400]!r}")
        return answer

    def timed(self, method: str, path: str, **arguments: Any) -> float:
        """Sends one request that must be answered with 200; returns milliseconds."""
        started = time.perf_counter()
        self.expect(method, path, **arguments)
        return (time.perf_counter() - started) * 1000


def wait_until_answered(caller: Caller, path: str, *, deadline: float, **arguments: Any) -> Answer:
    """Repeats a GET until it is answered with 200.

    Args:
        caller: Whom to ask with.
        path: Path to ask for.
        deadline: Seconds after which to give up.
    """
    end = time.monotonic() + deadline
    last: object = None
    while time.monotonic() < end:
        try:
            answer = caller.call("GET", path, **arguments)
        except (OSError, http.client.HTTPException) as error:
            last = error
        else:
            if answer.status == 200:
                return answer
            last = (answer.status, answer.body[:300])
        time.sleep(0.002)
    raise TimeoutError(f"no answer to {path} within {deadline} s: {last!r}")
