"""Rows for every table of a schema as it is in the database, whatever version it has."""

from __future__ import annotations

import datetime as dt
import uuid
import warnings
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, DateTime, MetaData, Numeric, Table, insert, select
from sqlalchemy import types as sqltypes

WHEN = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)
ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {"api_keys": (("service_account_id",), ("user_id",))}
"""Columns that the first and the second row of a table leave empty, where a check demands it."""
VERSION_TABLE = "alembic_version"
Row = dict[str, Any]


def reflected(connection: Connection) -> MetaData:
    """The tables as they are in the database."""
    metadata = MetaData()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        metadata.reflect(connection)
    return metadata


def fill(connection: Connection) -> None:
    """Writes two rows into every table: one with every column, one with only those that must not be empty."""
    metadata = reflected(connection)
    keys: dict[str, list[Row]] = {}
    for table in metadata.sorted_tables:
        if table.name == VERSION_TABLE:
            continue
        keys[table.name] = []
        for number in range(2):
            row = _row(table, number, keys)
            connection.execute(insert(table), row)
            keys[table.name].append(row)


def _row(table: Table, number: int, keys: dict[str, list[Row]]) -> Row:
    exceptions = ONE_OF.get(table.name)
    row: Row = {}
    for column in table.columns:
        left_out = column.name in exceptions[number] if exceptions else number == 1 and column.nullable
        if left_out:
            row[column.name] = None
        elif column.foreign_keys:
            target = next(iter(column.foreign_keys)).column
            row[column.name] = keys[target.table.name][number][target.name]
        else:
            row[column.name] = _value(column, number)
    return row


def _value(column: Column[Any], number: int) -> Any:
    kind = column.type
    if isinstance(kind, DateTime):
        return WHEN if kind.timezone else WHEN.replace(tzinfo=None)
    if isinstance(kind, sqltypes.CHAR) and kind.length == 32:
        return uuid.uuid4().hex  # How SQLite keeps a UUID.
    for types, value in (
        (sqltypes.Uuid, uuid.uuid4()),
        (Boolean, bool(number)),
        (JSON, {"key": number}),
        ((sqltypes.Integer, Numeric), number + 1),
    ):
        if isinstance(kind, types):
            return value
    return f"{uuid.uuid4().hex}{column.name}"[: getattr(kind, "length", None) or 40]


def snapshot(connection: Connection, tables: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is in the tables.

    Args:
        connection: To the database.
        tables: Which columns of which tables; all by default.
    """
    metadata = reflected(connection)
    found = {}
    for table in metadata.sorted_tables:
        if table.name == VERSION_TABLE or (tables is not None and table.name not in tables):
            continue
        columns = [table.c[name] for name in (tables[table.name] if tables else table.columns.keys())]
        rows = connection.execute(select(*columns).order_by(*table.primary_key.columns))
        found[table.name] = [tuple(row) for row in rows]
    return found


def columns(connection: Connection) -> dict[str, list[str]]:
    """The names of the columns of each table."""
    return {table.name: table.columns.keys() for table in reflected(connection).sorted_tables}
