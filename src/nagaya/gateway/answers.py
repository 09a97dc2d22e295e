"""Answers that the gateway makes itself: an error in ZenML's or the API's shape for programs, a page for browsers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus

REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} · Nagaya</title>
<link rel="stylesheet" href="{origin}/assets/nagaya.css">
<link rel="icon" href="{origin}/assets/icon.svg" type="image/svg+xml"></head>
<body><header class="bar"><a class="brand" href="{origin}/">
<img src="{origin}/assets/icon.svg" alt="" width="28" height="28"> Nagaya</a></header>
<main class="narrow"><div class="card"><p class="soft small">Error {status}</p><h1>{title}</h1><p>{sentence}</p>
<div class="actions"><a class="button" href="{origin}/">Go to the start page</a></div>
<p class="soft small">Request <code>{request_id}</code></p></div></main></body>
</html>
"""

_TITLES = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    410: "Deleted",
    429: "Too many requests",
    502: "Something went wrong",
    503: "Not available at the moment",
    504: "No answer in time",
}
"""What people read instead of the names of HTTP; the sentence below it says more."""

# The pages' own style sheet is all that it needs; while the api is away it reads well without.
_POLICY = (
    "default-src 'none'; style-src {origin}; img-src {origin}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer made by the gateway."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def encode(self, *, request_id: bytes, head_only: bool, close: bool, added: bytes = b"") -> bytes:
        """Serialise for the wire; `head_only` leaves the body out, as HEAD demands; `added` is one more header line."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, REASONS[self.status])]
        if self.body:
            lines.append(b"Content-Type: " + self.content_type)
        if self.status != 204:
            lines.append(b"Content-Length: %d" % len(self.body))
        lines.extend(name + b": " + value for name, value in self.headers)
        lines.append(b"Cache-Control: no-store")
        lines.append(b"X-Content-Type-Options: nosniff")
        lines.append(b"X-Request-ID: " + request_id)
        if added:
            lines.append(added)
        if close:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else self.body)


def json_reply(status: int, content: object, headers: Mapping[bytes, bytes] | None = None) -> Reply:
    """Answer `content` as JSON."""
    return Reply(status, json.dumps(content, separators=(",", ":")).encode(), headers=tuple((headers or {}).items()))


def redirect(location: str, status: int = 302) -> Reply:
    """Send the browser to `location`, which must be printable ASCII."""
    return Reply(status, headers=((b"Location", location.encode("ascii")), (b"Vary", b"Accept, Cookie")))


@dataclass(eq=False)
class GatewayError(Exception):
    """A request that the gateway answers itself because it cannot or must not forward it.

    `code` is the exception class that stock ZenML clients raise for it; `retry_after` is in seconds.
    """

    status: int
    code: str
    sentence: str
    retry_after: int | None = None
    close: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.sentence}"

    def reply(self, *, html: bool, request_id: bytes, envelope: bool = False, origin: str = "") -> Reply:
        """Render for a program, or with `html` for a person.

        Args:
            html: Whether a browser shows it.
            request_id: The request's id.
            envelope: For a program: the shape of the platform's API instead of ZenML's.
            origin: For a person: where the page's style sheet is and its links lead to.
        """
        headers = self.headers
        if self.retry_after is not None:
            headers += ((b"Retry-After", b"%d" % self.retry_after),)
        if not html:
            body: dict[str, object] = {"detail": [self.code, self.sentence]}
            if envelope:
                body = {
                    "error": self.code,
                    "detail": self.sentence,
                    "fields": None,
                    "request_id": request_id.decode("ascii"),
                }
            return Reply(self.status, json.dumps(body).encode(), headers=headers)
        if self.retry_after is not None:
            headers += ((b"Refresh", b"%d" % max(2, self.retry_after)),)
        page = _PAGE.format(
            title=escape(_TITLES.get(self.status) or HTTPStatus(self.status).phrase),
            status=self.status,
            sentence=escape(self.sentence),
            request_id=escape(request_id.decode("ascii")),
            origin=escape(origin, quote=True),
        )
        policy = _POLICY.format(origin=origin or "'self'").encode()
        headers += ((b"Content-Security-Policy", policy), (b"Referrer-Policy", b"same-origin"))
        return Reply(self.status, page.encode(), b"text/html; charset=utf-8", headers)


def too_large_body(limit: int) -> GatewayError:
    """The refusal of a body beyond `limit` bytes."""
    return GatewayError(413, "ContentTooLarge", f"The request's body exceeds the limit of {limit} bytes.", close=True)


def bad_request(sentence: str, status: int = 400) -> GatewayError:
    """A request whose syntax or framing is refused; the connection cannot be trusted afterwards."""
    return GatewayError(status, "BadRequest", sentence, close=True)
