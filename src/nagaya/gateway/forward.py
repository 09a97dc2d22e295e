"""Header rules: what of a request's and an answer's head crosses, and what is added (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from dataclasses import dataclass

from nagaya.gateway.answers import REASONS, GatewayError
from nagaya.gateway.request import Request
from nagaya.gateway.targets import Target

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
)  # fmt: skip
_OWN_REQUEST = frozenset({b"host", b"content-length", b"expect", b"forwarded", b"x-real-ip", b"x-request-id"})
_PRIVATE_PREFIXES = (b"nagaya-", b"x-nagaya-internal-", b"x-forwarded-")
# These would act on the whole origin, of which a tenant owns only a path.
_NOT_FROM_TENANTS = frozenset(
    {b"set-cookie", b"set-cookie2", b"clear-site-data", b"service-worker-allowed", b"strict-transport-security",
     b"x-content-type-options"}
)  # fmt: skip
# Added to whatever policy a tenant sends; a browser obeys both. What a tenant serves is no page of this origin: in a
# sandbox it has an origin of its own, so that no script in it can act for whoever is signed in to the platform.
_SANDBOX = b"Content-Security-Policy: sandbox allow-downloads; frame-ancestors 'self'"
# The one page that tenants have runs the platform's own scripts and no others.
_DOCS = b"Content-Security-Policy: script-src %s/assets/; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
_SECURITY = b"Strict-Transport-Security: max-age=%d"

_NOT_FORWARDED = _HOP_BY_HOP | {b"content-length", b"x-request-id"}

_kept: dict[bytes, bool] = {}


@dataclass(frozen=True, slots=True)
class Origin:
    """How the client reached the gateway: what the `X-Forwarded-*` headers tell."""

    address: str
    scheme: bytes
    host: bytes
    port: bytes

    def lines(self) -> bytes:
        """The forwarding headers that depend on the connection and Host alone."""
        address = self.address.encode()
        node = b'"[%s]"' % address if b":" in address else address
        return (
            b"X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\nX-Forwarded-Host: %s\r\nX-Forwarded-Port: %s\r\n"
            b'X-Real-IP: %s\r\nForwarded: for=%s;host="%s";proto=%s\r\n'
        ) % (address, self.scheme, self.host, self.port, address, node, self.host, self.scheme)


def _passes(name: bytes) -> bool:
    """Whether a request header may cross; an underscore counts as a hyphen, as some servers read it so."""
    verdict = _kept.get(name)
    if verdict is None:
        plain = name.replace(b"_", b"-")
        verdict = plain not in _HOP_BY_HOP and plain not in _OWN_REQUEST and not plain.startswith(_PRIVATE_PREFIXES)
        if len(_kept) < 1024:
            _kept[name] = verdict
    return verdict


def request_head(request: Request, target: Target, host: bytes, forwarded: bytes, token: str | None) -> bytes:
    """The head to send upstream; `forwarded` are the lines of `Origin`, `token` replaces the Authorization header."""
    to_tenant = bool(target.organization)
    nominated = _nominated(request.get(b"connection"))
    parts = [b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (request.method, target.forward, host)]
    for lowered, name, value in request.headers:
        if not _passes(lowered) or lowered in nominated or (to_tenant and lowered == b"cookie"):
            continue
        if token is not None and lowered == b"authorization":
            continue
        parts.append(name + b": " + value + b"\r\n")
    if token is not None:
        parts.append(b"Authorization: Bearer " + token.encode("ascii") + b"\r\n")
    parts.append(forwarded)
    if target.prefix:
        parts.append(b"X-Forwarded-Prefix: " + target.prefix + b"\r\n")
    parts.append(b"X-Request-ID: " + request.request_id + b"\r\n")
    if request.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif request.content_length is not None:
        parts.append(b"Content-Length: %d\r\n" % request.content_length)
    parts.append(b"\r\n")
    return b"".join(parts)


@dataclass(slots=True)
class AnswerHead:
    """The head of an upstream's answer as parsed: `headers` are (lower-case name, name, value)."""

    status: int
    headers: list[tuple[bytes, bytes, bytes]]
    content_length: int | None
    chunked: bool
    bodyless: bool


@dataclass(frozen=True, slots=True)
class Additions:
    """Lines that are added to answers: to a tenant's, by what was asked for, and to all."""

    origin: str
    page: bytes
    sandbox: bytes
    security: bytes

    @classmethod
    def of(cls, public_url: str, hsts_seconds: int) -> Additions:
        """The lines for a platform at `public_url`, which is https if `hsts_seconds` matters (RFC 6797)."""
        secure = public_url.startswith("https://") and hsts_seconds > 0
        return cls(
            public_url, _DOCS % public_url.encode("ascii"), _SANDBOX, _SECURITY % hsts_seconds if secure else b""
        )

    def secure(self, request: Request) -> bytes:
        """The line that makes browsers keep to TLS; never over plain HTTP (RFC 6797 section 7.2)."""
        return self.security if request.scheme != b"http" else b""


def answer_head(
    head: AnswerHead, request: Request, added: Additions, *, from_tenant: bool, chunk: bool, close: bool
) -> bytes:
    """The head to send to the client; `chunk` says that the body will be sent in chunks.

    Raises `GatewayError` (502) for a status or header that cannot be passed on safely.
    """
    parts = _answer_lines(head, from_tenant=from_tenant)
    if from_tenant:
        parts.append(b"X-Content-Type-Options: nosniff")
        parts.append(added.page if request.page else added.sandbox)
    if security := added.secure(request):
        parts.append(security)
    parts.append(b"X-Request-ID: " + request.request_id)
    if head.content_length is not None and head.status != 204:
        parts.append(b"Content-Length: %d" % head.content_length)
    elif chunk:
        parts.append(b"Transfer-Encoding: chunked")
    if close:
        parts.append(b"Connection: close")
    block = b"\r\n".join(parts)
    lines = len(parts) - 1
    if block.count(b"\n") != lines or block.count(b"\r") != lines or b"\0" in block:
        raise GatewayError(502, "BadGateway", "The server behind the gateway sent a malformed header.")
    return block + b"\r\n\r\n"


def _answer_lines(head: AnswerHead, *, from_tenant: bool) -> list[bytes]:
    """The status line and the upstream's headers that cross."""
    nominated: frozenset[bytes] = frozenset()
    parts = [b"HTTP/1.1 %d %s" % (head.status, REASONS.get(head.status, b"Unknown"))]
    for lowered, name, value in head.headers:
        if lowered == b"connection":
            nominated = _nominated(value)
        if lowered in _NOT_FORWARDED or lowered.startswith(b"x-nagaya-internal-"):
            continue
        if from_tenant and lowered in _NOT_FROM_TENANTS:
            continue
        parts.append(name + b": " + value)
    if nominated:
        parts = parts[:1] + [line for line in parts[1:] if line.partition(b":")[0].lower() not in nominated]
    return parts


def _nominated(connection: bytes | None) -> frozenset[bytes]:
    """Headers that a Connection header declares to be for one hop only."""
    if connection is None or connection.lower() in {b"keep-alive", b"close"}:
        return frozenset()
    return frozenset(token.strip().lower() for token in connection.split(b","))
