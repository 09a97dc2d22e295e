"""Cheap look-ups in the tenant's own database that decisions need: owner and project of a row, links between rows."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import null, select
from sqlmodel import SQLModel
from zenml.zen_server.utils import zen_store

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES = {
    "artifact": "artifact",
    "artifact_version": "artifact_version",
    "code_repository": "code_repository",
    "deployment": "deployment",
    "flavor": "flavor",
    "model": "model",
    "model_version": "model_version",
    "pipeline": "pipeline",
    "pipeline_build": "pipeline_build",
    "pipeline_deployment": "pipeline_snapshot",
    "pipeline_run": "pipeline_run",
    "project": "project",
    "run_metadata": "run_metadata",
    "run_template": "run_template",
    "schedule": "schedule",
    "secret": "secret",
    "service": "service",
    "service_connector": "service_connector",
    "stack": "stack",
    "stack_component": "stack_component",
    "tag": "tag",
    "trigger": "trigger",
    "webhook": "webhook",
}
"""Table of each resource type that has rows with an owner; `pipeline_deployment` is ZenML's name of a snapshot."""

_CACHED_ROWS = 20_000
_PLATFORM_SECONDS = 60.0


class Row(NamedTuple):
    """Who made a row, and the project that it belongs to; both never change.

    Args:
        user: ZenML's id of the owner; `None` for the server itself.
        project: The project; `None` for rows of the whole tenant.
    """

    user: UUID | None
    project: UUID | None


class Rows:
    """Reads from ZenML's own engine; every method may block for one query and belongs in a worker thread.

    Args:
        system_user: The reserved user that owns the platform's rows.
    """

    def __init__(self, system_user: UUID) -> None:
        self._system_user = system_user
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, UUID], Row] = OrderedDict()
        self._platform: dict[str, tuple[float, tuple[str, ...]]] = {}

    def find(self, table: str, row_id: UUID) -> Row | None:
        """Owner and project of a row, `None` if there is no such row.

        Args:
            table: Name of the database table.
            row_id: The primary key.
        """
        key = (table, row_id)
        with self._lock:
            if (known := self._cache.get(key)) is not None:
                self._cache.move_to_end(key)
                return known
        columns = SQLModel.metadata.tables[table].c
        wanted = [columns[name] for name in ("user_id", "project_id") if name in columns]
        found = self._first(select(columns.id, *wanted).where(columns.id == row_id))
        if found is None:
            return None
        values = dict(zip((column.name for column in wanted), found[1:], strict=True))
        row = Row(values.get("user_id"), values.get("project_id"))
        with self._lock:
            self._cache[key] = row
            if len(self._cache) > _CACHED_ROWS:
                self._cache.popitem(last=False)
        return row

    def is_platform(self, table: str, row: Row) -> bool:
        """Whether a row belongs to the platform: to the system user, or, in a table with owners, to nobody."""
        if "user_id" not in SQLModel.metadata.tables[table].c:
            return False
        return row.user is None or row.user == self._system_user

    def platform_ids(self, resource_type: str) -> tuple[str, ...]:
        """Ids of all rows of a type that belong to the system user.

        The platform writes them rarely and only in types of the whole tenant, so they are read once a minute at most.
        """
        table = TABLES.get(resource_type)
        if table is None:
            return ()
        with self._lock:
            known = self._platform.get(table)
        if known is not None and time.monotonic() - known[0] < _PLATFORM_SECONDS:
            return known[1]
        columns = SQLModel.metadata.tables[table].c
        ids: tuple[str, ...] = ()
        if "user_id" in columns and "project_id" not in columns:
            query = select(columns.id).where(columns.user_id == self._system_user)
            with zen_store().engine.connect() as connection:
                ids = tuple(str(each[0]) for each in connection.execute(query))
        with self._lock:
            self._platform[table] = (time.monotonic(), ids)
        return ids

    def value(self, table: str, row_id: UUID, *columns: str) -> tuple[Any, ...] | None:
        """Some columns of a row, `None` if there is no such row; a column that this ZenML has not is `None` too."""
        source = SQLModel.metadata.tables[table].c
        wanted = [source[name] if name in source else null() for name in columns]
        found = self._first(select(*wanted).where(source.id == row_id))
        return None if found is None else tuple(found)

    @classmethod
    def has_type(cls, resource_type: str) -> bool:
        """Whether resources of a type have rows with an owner in this version of ZenML."""
        return cls.knows(TABLES.get(resource_type, ""))

    @staticmethod
    def knows(table: str) -> bool:
        """Whether this version of ZenML has a table."""
        return table in SQLModel.metadata.tables

    def named(self, table: str, name: str, **within: UUID) -> UUID | None:
        """Id of the row with a name, `None` if there is none.

        Args:
            table: Name of the database table.
            name: The value of the column `name`.
            within: Columns with the values that make the name unique.
        """
        columns = SQLModel.metadata.tables[table].c
        scope = [columns[column] == value for column, value in within.items()]
        found = self._first(select(columns.id).where(columns.name == name, *scope))
        return None if found is None else found[0]

    def projects(self) -> Iterable[UUID]:
        """Ids of all projects of the tenant."""
        columns = SQLModel.metadata.tables["project"].c
        with zen_store().engine.connect() as connection:
            return [each[0] for each in connection.execute(select(columns.id))]

    @staticmethod
    def _first(query: Any) -> Any:
        with zen_store().engine.connect() as connection:
            return connection.execute(query).first()
