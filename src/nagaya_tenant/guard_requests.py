"""Making sense of a raw request before anything is decided: path, headers, credentials, bounded bodies."""

from __future__ import annotations

import dataclasses
import re
import uuid
from typing import TYPE_CHECKING

from nagaya_tenant.errors import BadRequest, CredentialsRefused, NotAuthenticated

if TYPE_CHECKING:
    from nagaya_tenant.asgi import Message, Receive, Scope

LONGEST_PATH = 4096
LONGEST_QUERY = 65_536
LARGEST_READ_BODY = 1_048_576
IDEMPOTENCY = b"idempotency-key"
PREFIX = b"x-forwarded-prefix"
_PREFIX = re.compile(r"/t/[a-z0-9-]{1,64}/[a-z0-9-]{1,64}")
_CONTROL = frozenset(range(32)) | {127}


@dataclasses.dataclass(slots=True)
class Request:
    """A request with its path as the application will see it.

    Args:
        scope: The ASGI scope, changed copy of the server's.
        method: HTTP method.
        path: Decoded path without the tenant's prefix.
        headers: Names in lower case; cookies are not among them.
        prefix: The path in front of this request's, as the client sees it: a tenant below a host name of its own is
            reached by path too.
    """

    scope: Scope
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    prefix: str = ""

    @classmethod
    def read(cls, scope: Scope, root_path: str) -> Request:
        """Checks and normalizes what the server received.

        Args:
            scope: The ASGI scope.
            root_path: The tenant's public prefix. The application would strip it a second time, so it must be gone
                before a route is looked up.

        Raises:
            BadRequest: Control characters, too long, ambiguous, or otherwise not a request for anybody.
        """
        path, query = scope["path"], scope.get("query_string", b"")
        headers = [(name.lower(), value) for name, value in scope["headers"] if name.lower() != b"cookie"]
        prefix = root_path or _forwarded_prefix(headers)
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            path = path[len(prefix) :] or "/"
            if path == prefix or path.startswith(prefix + "/"):
                raise BadRequest("The path repeats the prefix of the tenant.", status=404)
        if len(path) > LONGEST_PATH or len(query) > LONGEST_QUERY:
            raise BadRequest("The address is too long.", status=414)
        if any(ord(char) in _CONTROL for char in path) or b"%00" in query or b"\0" in query:
            # 422 is what ZenML documents for addresses that it cannot take, and what it mostly answers to these.
            raise BadRequest("The address contains control characters.", status=422)
        request = cls(
            {**scope, "path": path, "raw_path": None, "headers": headers}, scope["method"], path, headers, prefix
        )
        request.scope.pop("raw_path")
        if prefix and not root_path:
            # What the application derives from the address, such as the target of a redirect, is below it as well.
            request.scope["root_path"] = prefix
        for name in (b"authorization", b"content-length", b"content-type", IDEMPOTENCY):
            if sum(each == name for each, _ in headers) > 1:
                raise BadRequest(f"The header {name.decode()} is given more than once.")
        length = request.header(b"content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise BadRequest("The header content-length is not a number.")
        return request

    def header(self, name: bytes) -> str | None:
        """The value of a header, `None` without one."""
        for each, value in self.headers:
            if each == name:
                return value.decode("latin-1")
        return None

    def replace_header(self, name: bytes, value: str) -> None:
        """Sets a header to one value."""
        self.headers[:] = [(each, old) for each, old in self.headers if each != name]
        self.headers.append((name, value.encode("latin-1")))

    @property
    def request_id(self) -> str:
        """The id by which the request is found in logs; made up if the client sent none."""
        given = self.header(b"x-request-id")
        if given is None:
            given = uuid.uuid4().hex
            self.replace_header(b"x-request-id", given)
        return given

    def bearer(self) -> str:
        """The bearer token.

        Raises:
            NotAuthenticated: There is no authorization header.
            CredentialsRefused: It is of another scheme, or one of the keys that must be exchanged first.
        """
        authorization = self.header(b"authorization")
        if not authorization:
            raise NotAuthenticated
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise CredentialsRefused("Authentication error: only bearer tokens are accepted here.")
        refuse_raw_key(token)
        return token

    def bind_idempotency(self, principal: str) -> None:
        """Makes the client's idempotency key the caller's own.

        ZenML answers a repeated key from its cache before it checks a permission, whoever repeats it
        (`zenml.zen_server.request_management`), so two callers must never have the same key.

        Raises:
            BadRequest: The key is not a UUID; ZenML would answer 500.
        """
        key = self.header(IDEMPOTENCY)
        if not key:
            return
        try:
            given = uuid.UUID(key)
        except ValueError:
            raise BadRequest("The header Idempotency-Key must be a UUID.") from None
        self.replace_header(IDEMPOTENCY, str(uuid.uuid5(given, f"{principal} {self.method} {self.path}")))


def _forwarded_prefix(headers: list[tuple[bytes, bytes]]) -> str:
    """The prefix that the gateway took off; it overwrites what clients send under this name."""
    given = dict(headers).get(PREFIX, b"").decode("latin-1")
    return given if _PREFIX.fullmatch(given) else ""


def refuse_raw_key(token: str) -> None:
    """Refuses API keys in place of tokens.

    Raises:
        CredentialsRefused: The token is a key.
    """
    if token.startswith("ZENPROKEY_"):
        raise CredentialsRefused(
            "Authentication error: exchange the API key for a token at the control plane first "
            "(clients from 0.84.3 do; set ZENML_PRO_API_URL for them)."
        )
    if token.startswith("ZENKEY_"):
        raise CredentialsRefused(
            "Authentication error: keys of local service accounts are not accepted; use a service account of the "
            "organization."
        )


async def read_body(receive: Receive, limit: int = LARGEST_READ_BODY) -> bytes:
    """Reads a whole body.

    Raises:
        BadRequest: It is larger than `limit` bytes, or the client went away.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("The request ended before its body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BadRequest(f"The body is larger than the {limit} bytes that this route takes.", status=413)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was already read, and then what the server still has to say."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
