"""Errors of the guard, in the shape that ZenML's clients read: `{"detail": ["<ExceptionClass>", "<sentence>"]}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nagaya_tenant.asgi import Send


class Refusal(Exception):  # it is an answer, not a fault
    """A request that ends in the guard, with the answer that the client gets.

    Stock clients choose the exception class by the status code and, among those of one status, by the name
    (`zenml.zen_server.exceptions.exception_from_response`).

    Args:
        status: HTTP status code.
        name: Name of the ZenML exception that the client raises.
        sentence: What was wrong and what to do; shown to the user, so it never contains a credential.
        headers: Further response headers.
    """

    def __init__(self, status: int, name: str, sentence: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.name = name
        self.sentence = sentence
        self.headers = headers

    @property
    def body(self) -> Any:
        """The JSON body of the answer."""
        return {"detail": [self.name, self.sentence]}


class NotAuthenticated(Refusal):
    """No credentials at all; the body is FastAPI's, which is what a plain server answers."""

    def __init__(self) -> None:
        super().__init__(401, "CredentialsNotValid", "Not authenticated", (("www-authenticate", "Bearer"),))

    @property
    def body(self) -> Any:
        """FastAPI's body for a missing bearer token."""
        return {"detail": "Not authenticated"}


class BadRequest(Refusal):
    """A request that no handler could answer sensibly."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(status, "ValueError", sentence)


class CredentialsRefused(Refusal):
    """Credentials that are not, or no longer, good for this tenant."""

    def __init__(self, sentence: str) -> None:
        super().__init__(401, "CredentialsNotValid", sentence)


class Forbidden(Refusal):
    """A known principal that may not do this."""

    def __init__(self, sentence: str) -> None:
        super().__init__(403, "IllegalOperationError", sentence)


class Unavailable(Refusal):
    """The guard cannot decide now; it never lets a request through in doubt."""

    def __init__(self, sentence: str, retry_after: int = 5) -> None:
        super().__init__(503, "RuntimeError", sentence, (("retry-after", str(retry_after)),))


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (),
) -> None:
    """Sends one complete response.

    Args:
        send: ASGI send.
        status: HTTP status code.
        body: The whole body.
        content_type: Value of `content-type`.
        headers: Further headers, names in lower case.
    """
    raw = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, value: Any, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
    """Sends a JSON value; see `respond`."""
    await respond(send, status, json.dumps(value, separators=(",", ":")).encode(), headers=headers)


async def respond_refusal(send: Send, refusal: Refusal) -> None:
    """Sends what a refusal says."""
    await respond_json(send, refusal.status, refusal.body, headers=refusal.headers)
