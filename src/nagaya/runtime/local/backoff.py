"""When to try again after a failure: exponential delays with jitter, and a verdict after too many in a window."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Backoff:
    """Counts failures within a window. All times are seconds of the clock `now`."""

    def __init__(
        self,
        *,
        base: float,
        limit: float,
        failures: int,
        window: float,
        now: Callable[[], float],
    ) -> None:
        self._base, self._limit, self._failures, self._window, self._now = base, limit, failures, window, now
        self._times: deque[float] = deque()
        self._not_before = 0.0

    def failed(self) -> bool:
        """Record a failure; True when there were too many within the window."""
        now = self._now()
        self._times.append(now)
        while self._times[0] < now - self._window:
            self._times.popleft()
        delay = min(self._limit, self._base * 2.0 ** (len(self._times) - 1))
        self._not_before = now + delay * random.uniform(0.75, 1.25)  # noqa: S311 - jitter is no secret.
        return len(self._times) >= self._failures

    @property
    def count(self) -> int:
        """Failures that still count."""
        return len(self._times)

    @property
    def delay(self) -> float:
        """Seconds until the next try is allowed."""
        return max(0.0, self._not_before - self._now())

    def reset(self) -> None:
        """Forget all failures."""
        self._times.clear()
        self._not_before = 0.0
