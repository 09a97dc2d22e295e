"""Token buckets with bounded memory, and by what key a caller's address counts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Refused:
    """A request over the limit: seconds until the next one would pass, and until the whole burst is there again."""

    limit: int
    retry_after: int
    reset: int

    def headers(self) -> tuple[tuple[str, str], ...]:
        """`RateLimit-*` (draft-ietf-httpapi-ratelimit-headers-07) for the answer; `Retry-After` comes beside them."""
        return (
            ("RateLimit-Limit", str(self.limit)),
            ("RateLimit-Remaining", "0"),
            ("RateLimit-Reset", str(self.reset)),
        )


class Buckets:
    """One token bucket per key: `burst` requests at once, and `rate` a second in the long run; a rate of 0 is no limit.

    A bucket that is full again says nothing, so the least recently used are forgotten: of more than `remembered` keys
    within the time that a bucket takes to fill, some get more than their share.
    """

    __slots__ = ("_buckets", "_burst", "_clock", "_rate", "_remembered")

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], remembered: int = REMEMBERED) -> None:
        self._rate, self._burst, self._clock, self._remembered = rate, max(1, burst), clock, remembered
        # The moment at which the bucket would be full again ("virtual scheduling"): one number instead of two.
        self._buckets: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable) -> Refused | None:
        """Count a request; None if it may pass."""
        rate = self._rate
        if not rate:
            return None
        now = self._clock()
        buckets = self._buckets
        full = buckets.get(key, 0.0)
        after = (full if full > now else now) + 1.0 / rate
        allowed = now + self._burst / rate
        # A hair more than the bucket: sums of fractions must not refuse the last request of a burst.
        if after > allowed + 1e-6:
            wait = max(1, math.ceil(after - allowed))
            return Refused(self._burst, wait, max(wait, math.ceil(full - now)))
        buckets[key] = after
        buckets.move_to_end(key)
        if len(buckets) > self._remembered:
            buckets.popitem(last=False)
        return None


@lru_cache(maxsize=4096)
def address_key(address: str) -> str | None:
    """The key of a caller's address: an IPv6 network of 64 bits, which one customer has, counts as one.

    None for addresses of this machine: behind them is either a local user, or a proxy that nobody told us to trust, and
    then all the world.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if parsed.is_loopback:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return address_key(str(parsed.ipv4_mapped))
        return parsed.exploded[:19]
    return address
