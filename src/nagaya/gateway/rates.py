"""The gateway's rate limits: of every caller's address, and of every credential at tenants."""

from __future__ import annotations

import time
from collections.abc import Callable

from nagaya.gateway.answers import GatewayError
from nagaya.gateway.settings import GatewaySettings
from nagaya.rates import Buckets, Refused, address_key


class RateLimits:
    """The limits of one gateway: of every caller's address, and of every credential at tenants."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses = Buckets(settings.address_rate, settings.address_burst, clock)
        self._credentials = Buckets(settings.credential_rate, settings.credential_burst, clock)

    def address(self, address: str) -> None:
        """Count a request of an address; raises `GatewayError` (429)."""
        key = address_key(address)
        if key is not None:
            _check(self._addresses.take(key), "from this address")

    def credential(self, digest: bytes) -> None:
        """Count a request with a credential; raises `GatewayError` (429)."""
        _check(self._credentials.take(digest), "with this credential")


def _check(refused: Refused | None, whose: str) -> None:
    if refused is None:
        return
    plural = "" if refused.retry_after == 1 else "s"
    sentence = f"Too many requests {whose}; try again in {refused.retry_after} second{plural}."
    headers = tuple((name.encode(), value.encode()) for name, value in refused.headers())
    raise GatewayError(429, "TooManyRequests", sentence, retry_after=refused.retry_after, headers=headers)
