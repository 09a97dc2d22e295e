"""The keeper's durable record of each tenant: `keeper/tenants/<uuid>/{spec,policy,state,info}.json`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from nagaya.runtime.files import StateFileError, read_json, sync_directory, write_json
from nagaya.runtime.interface import TenantSpec

PURGE_MARK = "purge"


class TenantRecord:
    """The files of one tenant's record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.id = directory.name

    def create(self) -> None:
        """Make the record's directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_spec(self) -> TenantSpec | None:
        """Return the stored spec; None when there is none yet. Raises StateFileError when it is damaged."""
        value = read_json(self.directory / "spec.json")
        if value is None:
            return None
        try:
            return TenantSpec.from_json(value)
        except ValueError as error:
            raise StateFileError(f"{self.directory / 'spec.json'} is damaged: {error}") from error

    def write_spec(self, spec: TenantSpec) -> None:
        """Store a spec durably."""
        write_json(self.directory / "spec.json", spec.to_json())

    @property
    def policy_path(self) -> Path:
        """Where the newest policy document lies."""
        return self.directory / "policy.json"

    def write_policy(self, policy: dict[str, Any]) -> None:
        """Store a policy document durably."""
        write_json(self.policy_path, policy)

    def policy_version(self) -> int | None:
        """Return the version of the stored policy; None when there is none (a damaged one counts as none)."""
        with suppress(StateFileError, KeyError, TypeError, ValueError):
            policy = read_json(self.policy_path)
            return None if policy is None else int(policy["version"])
        return None

    def read_state(self) -> dict[str, Any]:
        """Return what the last keeper knew of the process; empty when nothing (readable) was written."""
        with suppress(StateFileError):
            return read_json(self.directory / "state.json") or {}
        return {}

    def write_state(self, state: dict[str, Any], *, durable: bool) -> None:
        """Record the state of the process; `durable` when it must outlast a loss of power."""
        write_json(self.directory / "state.json", state, durable=durable)

    def read_info(self) -> dict[str, Any] | None:
        """Return the cached body of `/api/v1/info`."""
        with suppress(StateFileError):
            return read_json(self.directory / "info.json")
        return None

    def write_info(self, info: dict[str, Any]) -> None:
        """Cache the body of `/api/v1/info`; the next start tells it again."""
        write_json(self.directory / "info.json", info, durable=False)

    def mark_purge(self) -> None:
        """Record that this tenant is being removed, so that the removal survives a crash."""
        self.create()
        (self.directory / PURGE_MARK).touch()
        sync_directory(self.directory)

    @property
    def purging(self) -> bool:
        """Whether a removal was begun."""
        return (self.directory / PURGE_MARK).exists()

    def remove(self) -> None:
        """Remove the record; the purge mark goes last."""
        if not self.directory.exists():
            return
        for entry in self.directory.iterdir():
            if entry.name != PURGE_MARK:
                entry.unlink()
        shutil.rmtree(self.directory)
        sync_directory(self.directory.parent)


class Store:
    """All tenant records below the keeper's directory."""

    def __init__(self, keeper_dir: Path) -> None:
        self.directory = keeper_dir / "tenants"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def record(self, tenant: str) -> TenantRecord:
        """Return the record of a tenant. Raises ValueError when `tenant` is not a UUID in its usual form."""
        if str(UUID(tenant)) != tenant:
            raise ValueError(f"{tenant!r} is not a tenant id")
        return TenantRecord(self.directory / tenant)

    def records(self) -> Iterator[TenantRecord]:
        """Yield every record on disk."""
        for entry in sorted(item.name for item in self.directory.iterdir()):
            with suppress(ValueError):
                yield self.record(entry)


def engine_users(keeper_dir: Path, version: str) -> list[str]:
    """Return `organization/tenant` of the records that name an engine; damaged ones are counted by their id."""
    if not (keeper_dir / "tenants").is_dir():
        return []
    names = []
    for record in Store(keeper_dir).records():
        if record.purging:
            continue
        try:
            spec = record.read_spec()
        except StateFileError:
            names.append(record.id)
            continue
        if spec is not None and spec.engine == version:
            names.append(f"{spec.organization}/{spec.tenant}")
    return sorted(names)
