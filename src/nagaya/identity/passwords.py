"""Password rules and hashing: Argon2id, off the event loop and bounded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from nagaya.errors import InvalidInput, Unavailable

MIN_LENGTH = 12
MAX_LENGTH = 256
WAITING_LIMIT = 100
COMMON = frozenset(Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split())
"""The entries of public lists of common passwords that are long enough to pass the length rule."""


def check_password(password: str, *names: str) -> None:
    """Applies the rules of ASVS 5.0, 6.2: length, no common or guessable ones, no rules of composition.

    Args:
        password: What the person chose.
        names: User name, email and the like, which it must not merely repeat.

    Raises:
        InvalidInput: It breaks a rule; the message says which.
    """
    problem = ""
    folded = password.casefold()
    own = {name.casefold() for name in names} | {name.casefold().split("@")[0] for name in names}
    if len(password) < MIN_LENGTH:
        problem = f"must have at least {MIN_LENGTH} characters"
    elif len(password) > MAX_LENGTH:
        problem = f"must have at most {MAX_LENGTH} characters"
    elif "\x00" in password or not password.isprintable():
        problem = "must not contain control characters"
    elif folded in COMMON or len(set(folded)) < 4:
        problem = "is too easy to guess; choose a longer phrase"
    elif any(len(name) > 3 and folded.replace(name, "", 1).strip("0123456789!.-_") == "" for name in own):
        problem = "must not be made of your own name or address"
    if problem:
        raise InvalidInput(f"The password {problem}.", fields={"password": problem})


class Passwords:
    """Hashes and verifies, at most `concurrency` at a time.

    Args:
        concurrency: Hashes at a time; each takes 19 MiB (OWASP's minimum for Argon2id with t=2).
    """

    def __init__(self, concurrency: int) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._limiter = anyio.CapacityLimiter(concurrency)
        self._slots = anyio.Semaphore(concurrency)
        self._waiting = 0
        # Unknown users are checked against this, so that they take as long as known ones.
        self._dummy = self._hasher.hash("no one has this password")

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one of the `concurrency` places, so that attempts are counted before the next ones are let in.

        Raises:
            Unavailable: Too many callers are waiting already.
        """
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("Too many sign-ins at this moment; try again shortly.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def hash(self, password: str) -> str:
        """Returns the encoded hash of a password that passed `check_password`."""
        return await to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    def hash_now(self, password: str) -> str:
        """Like `hash`, for command-line tools that have no event loop."""
        return self._hasher.hash(password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` belongs to `stored`; takes the same time when there is no stored hash.

        Args:
            stored: Encoded hash, or None for an unknown user or one without a password.
            password: What was sent.
        """

        def check() -> bool:
            try:
                self._hasher.verify(stored or self._dummy, password[: MAX_LENGTH + 1])
            except (VerificationError, InvalidHashError):
                return False
            return stored is not None

        return await to_thread.run_sync(check, limiter=self._limiter)

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's and should be renewed."""
        return self._hasher.check_needs_rehash(stored)
