"""Which credentials a request carries, judged by their form only: enough to decide about waking, never about access."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re

_PLATFORM_KEY = re.compile(rb"ZENPROKEY_[0-9A-Za-z]{46}\Z")
_MAX_TOKEN = 16 * 1024
_LATEST = 1e12  # Seconds; what lies beyond is not a date.
_MAX_KNOWN = 4096

# Expiries by digest: clients send the same token with each request, and parsing it costs as much as forwarding does.
_expiries: dict[bytes, float] = {}


def digest_of(authorization: bytes) -> bytes:
    """What stands for an Authorization value where the value itself must not lie about."""
    return hashlib.sha256(authorization).digest()


def plausible(authorization: bytes, now: float) -> bool:
    """Whether an Authorization value is a bearer token worth waking a tenant for.

    A JSON web token must parse and have an `exp` (seconds since the epoch) after `now`; a platform key must have the
    right form. The signature is the tenant's affair.
    """
    scheme, _, token = authorization.strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > _MAX_TOKEN:
        return False
    if token.startswith(b"ZENPROKEY_"):
        return _PLATFORM_KEY.match(token) is not None
    digest = hashlib.sha256(token).digest()
    expiry = _expiries.get(digest)
    if expiry is None:
        expiry = _expiry(token)
        if len(_expiries) >= _MAX_KNOWN:
            _expiries.clear()
        _expiries[digest] = expiry
    return expiry > now


def _expiry(token: bytes) -> float:
    """The `exp` of a well-formed token, 0 for anything else."""
    parts = token.split(b".")
    if len(parts) != 3 or not parts[2]:
        return 0.0
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
        _decode(parts[2])
    except (ValueError, RecursionError):
        return 0.0
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") in {None, "none"}:
        return 0.0
    expiry = claims.get("exp")
    return float(expiry) if isinstance(expiry, int | float) and 0 < expiry < _LATEST else 0.0


def _decode(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def session_cookie(header: bytes | None, name: bytes) -> str | None:
    """The session cookie's value in a Cookie header; None if it is absent or given twice with different values.

    Two different values mean that somebody planted one, and which of them the browser put first proves nothing.
    """
    if header is None or name not in header:
        return None
    values = set()
    for pair in header.split(b";"):
        key, separator, value = pair.strip().partition(b"=")
        if separator and key == name and value:
            values.add(value)
    if len(values) != 1:
        return None
    try:
        return values.pop().decode("ascii")
    except UnicodeDecodeError:
        return None
