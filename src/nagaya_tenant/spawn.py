"""The keeper's order to start one tenant process, as the zygote and the plain start receive it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nagaya_tenant.stamp import StampOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTORS = 3
SECRET_MARKS = ("SECRET", "KEY", "TOKEN", "PASSWORD")


class SpawnError(ValueError):
    """The order cannot be carried out; the message says why and contains no value of the environment."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOrder:
    """One `spawn` message (`docs/reference/internals.md`, "Starting a tenant").

    Attributes:
        name: Short name for the process list.
        directory: The tenant's directory, which becomes the working directory.
        log: File that receives standard output and error.
        uid: User (and group) id to become, or None to stay who we are.
        environment: The child's whole environment; it contains secrets.
        stamp: How to make `zenml.db` if it does not exist.
    """

    name: str
    directory: Path
    log: Path
    uid: int | None
    environment: Mapping[str, str] = dataclasses.field(repr=False)
    stamp: StampOrder | None

    @classmethod
    def from_json(cls, text: str | bytes) -> SpawnOrder:
        """Reads an order.

        Raises:
            SpawnError: If it is not JSON, or a member is missing or of the wrong type.
        """
        try:
            document: Any = json.loads(text)
        except ValueError as error:
            raise SpawnError(f"The spawn order is not JSON: {type(error).__name__}.") from None
        if not isinstance(document, dict):
            raise SpawnError("The spawn order must be a JSON object.")
        environment = document.get("env")
        if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
            raise SpawnError("The spawn order's `env` must be an object of strings.")
        uid = document.get("uid")
        if uid is not None and (not isinstance(uid, int) or isinstance(uid, bool) or uid <= 0):
            raise SpawnError("The spawn order's `uid` must be a positive number or null.")
        for member in ("name", "dir", "log"):
            if not isinstance(document.get(member), str) or not document[member]:
                raise SpawnError(f"The spawn order's `{member}` must be a text that is not empty.")
        stamp = document.get("stamp")
        return cls(
            name=document["name"],
            directory=Path(document["dir"]),
            log=Path(document["log"]),
            uid=uid,
            environment=environment,
            stamp=StampOrder.from_json(stamp) if stamp else None,
        )

    @property
    def database(self) -> Path:
        """The tenant's database file."""
        return self.directory / "zenml.db"

    def redact(self, text: str) -> str:
        """Replaces every secret of the environment that occurs in `text` by asterisks."""
        for name, value in self.environment.items():
            if len(value) >= 6 and any(mark in name.upper() for mark in SECRET_MARKS):
                text = text.replace(value, "***")
        return text
