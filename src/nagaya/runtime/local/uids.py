"""User ids of tenants: each gets its own from a range, for ever; a freed number is never given out again."""

from __future__ import annotations

import os
from pathlib import Path

from nagaya.runtime.files import read_json, write_json


class UidsExhaustedError(Exception):
    """The range of user ids for tenants is used up."""


class UidAllocator:
    """Hands out user ids; the record is on disk before a number is used. Without a range every answer is None."""

    def __init__(self, path: Path, span: tuple[int, int] | None) -> None:
        self._path = path
        self._span = span
        stored = read_json(path) or {}
        self._next: int = int(stored.get("next", 0))
        self._assigned: dict[str, int] = {str(key): int(value) for key, value in stored.get("assigned", {}).items()}

    def assign(self, tenant: str) -> int | None:
        """Return the user id of a tenant, allocating one at its first start.

        Raises UidsExhaustedError when the range is used up, OSError when it cannot be recorded.
        """
        if self._span is None:
            return None
        if tenant in self._assigned:
            return self._assigned[tenant]
        first, last = self._span
        uid = max(self._next, first)
        if uid > last:
            raise UidsExhaustedError(
                f"all user ids from {first} to {last} have been used; widen NAGAYA_TENANT_UIDS upwards"
            )
        # The counter moves only together with the record: a failed write must not lose or repeat a number.
        self._write(uid + 1, self._assigned | {tenant: uid})
        return uid

    def assigned(self, tenant: str) -> int | None:
        """Return the user id that a tenant has, or None."""
        return None if self._span is None else self._assigned.get(tenant)

    def was_given(self, uid: int) -> bool:
        """Tell whether a user id belongs, or ever belonged, to a tenant here."""
        if self._span is None:
            return False
        return self._span[0] <= uid < self._next or uid in self._assigned.values()

    def release(self, tenant: str) -> None:
        """Forget a removed tenant; its number stays used."""
        if tenant in self._assigned:
            self._write(self._next, {key: value for key, value in self._assigned.items() if key != tenant})

    def _write(self, following: int, assigned: dict[str, int]) -> None:
        write_json(self._path, {"next": following, "assigned": assigned})
        self._next, self._assigned = following, assigned


def private_directory(path: Path, uid: int | None) -> None:
    """Make `path` a 0700 directory of `uid` (None: of this user). Raises OSError when something else is there."""
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o700)
        if uid is not None and os.fstat(descriptor).st_uid != uid:
            os.fchown(descriptor, uid, uid)
    finally:
        os.close(descriptor)
