"""Request targets: which are acceptable, and how a tenant's prefix is taken off without touching any other byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nagaya.gateway.answers import bad_request

# RFC 9112 section 3.2.1, origin-form; `#`, `\` and everything outside visible ASCII never belongs in one.
_ORIGIN_FORM = re.compile(rb"/[\x21\x22\x24-\x5b\x5d-\x7e]*\Z")
_DOT_SEGMENT = re.compile(rb"(?:^|/)(?:\.|%2e){1,2}(?:;[^/]*)?(?=/|\Z)", re.IGNORECASE)
_ENCODED_SEPARATOR = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)


@dataclass(slots=True)
class Target:
    """A checked request target.

    `path` is raw and without the query; `organization` is empty for everything that is not a tenant's address;
    `forward` is the target as the upstream shall see it; `by_host` says that the host named the tenant, not the path.
    """

    path: bytes
    organization: bytes
    tenant: bytes
    forward: bytes
    by_host: bool = False

    @property
    def inner(self) -> bytes:
        """The path that the upstream sees, without the query."""
        return self.forward.partition(b"?")[0]

    @property
    def prefix(self) -> bytes:
        """`/t/{organization}/{tenant}` if that was taken off the path, or nothing."""
        by_path = self.organization and not self.by_host
        return b"/t/" + self.organization + b"/" + self.tenant if by_path else b""


def parse_target(raw: bytes, owner: tuple[bytes, bytes] | None = None) -> Target:
    """Check and split a request target; `owner` are organization and tenant whose host was asked.

    Raises `GatewayError` (400) for other forms than origin-form, control characters, dot segments in any spelling,
    encoded NUL, and encoded separators or escapes in the organization and tenant parts.
    """
    if _ORIGIN_FORM.match(raw) is None:
        raise bad_request(
            "The request target must be a path that starts with '/' and holds only visible ASCII characters."
        )
    path = raw.partition(b"?")[0]
    if b"%" in path or b"/." in path:
        lowered = path.lower()
        if _DOT_SEGMENT.search(lowered):
            raise bad_request("The path must not contain '.' or '..' segments.")
        if b"%00" in lowered:
            raise bad_request("The path must not contain an encoded NUL.")
    if owner is not None:
        return Target(path, *owner, raw, by_host=True)
    if not path.startswith(b"/t/"):
        return Target(path, b"", b"", raw)
    parts = path.split(b"/", 4)
    if len(parts) < 4 or not parts[2] or not parts[3]:
        _refuse_escapes(path)
        return Target(path, b"", b"", raw)
    organization, tenant = parts[2], parts[3]
    _refuse_escapes(organization + tenant)
    rest = raw[4 + len(organization) + len(tenant) :]
    return Target(path, organization, tenant, rest if rest.startswith(b"/") else b"/" + rest)


def _refuse_escapes(part: bytes) -> None:
    """Names are plain slugs: an escape in them can only be an attempt to be read in two ways."""
    if _ENCODED_SEPARATOR.search(part):
        raise bad_request("The organization and tenant in the path must not contain encoded separators.")
    if b"%" in part:
        raise bad_request("The organization and tenant in the path must be written without percent escapes.")
