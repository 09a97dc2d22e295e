"""Bounds how many wrong user codes a person may try (RFC 8628 section 5.1)."""

import datetime as dt
import threading
import uuid
from collections import OrderedDict

from nagaya.errors import NotFound, TooManyRequests
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import Device
from nagaya.identity.principal import Principal
from nagaya.identity.service import devices

TRIES = 5
WINDOW = dt.timedelta(minutes=10)
REMEMBERED = 10_000


class CodeGuard:
    """Wrong codes by person, of this process only: a code lives ten minutes and needs a signed-in person to try.

    Five guesses in ten minutes among 20^8 codes keep the odds below 2^-32, as the RFC's example asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[uuid.UUID, list[dt.datetime]] = OrderedDict()

    def check(self, person: uuid.UUID, now: dt.datetime) -> None:
        """Raises TooManyRequests once a person has tried too often."""
        with self._lock:
            recent = [time for time in self._failures.get(person, []) if time > now - WINDOW]
        if len(recent) >= TRIES:
            wait = int((recent[0] + WINDOW - now).total_seconds()) + 1
            detail = f"Too many wrong codes; try again in {wait // 60 + 1} minutes."
            raise TooManyRequests(detail, retry_after=wait, limit=TRIES)

    def failed(self, person: uuid.UUID, now: dt.datetime) -> None:
        """Counts a wrong code."""
        with self._lock:
            recent = [time for time in self._failures.pop(person, []) if time > now - WINDOW]
            self._failures[person] = [*recent, now]
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)


def find(work: UnitOfWork, state: AppState, principal: Principal, user_code: str) -> Device:
    """Returns the open request with a user code.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: Who typed it.
        user_code: What was typed.

    Raises:
        NotFound: There is none.
        TooManyRequests: The person has typed too many wrong codes.
    """
    guard: CodeGuard = state.extras.setdefault("code_guard", CodeGuard())
    guard.check(principal.id, state.now())
    try:
        return devices.by_user_code(work, state, user_code)
    except NotFound:
        guard.failed(principal.id, state.now())
        raise
