"""Making a tenant's database: contents, rotated ids, and what a kill at any step leaves behind."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from nagaya_tenant import version
from nagaya_tenant.stamp import StampError, StampOrder, ensure_database

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ("copied", "rewritten", "committed", "synced", "renamed", "done")


@pytest.fixture
def order(template: Path) -> StampOrder:
    return StampOrder(
        template=template,
        server_id=uuid4(),
        server_name="staging",
        project_id=uuid4(),
        project_name="default",
        system_user_id=uuid4(),
        system_user_name="nagaya",
    )


def test_contents(order: StampOrder, tmp_path: Path) -> None:
    path = tmp_path / "zenml.db"
    assert ensure_database(order, path) is True
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["zenml.db"]

    assert rows(path, "SELECT id, server_name, active, enable_analytics FROM server_settings") == [
        (order.server_id.hex, "staging", 1, 0)
    ]
    assert rows(path, "SELECT id, name FROM project") == [(order.project_id.hex, "default")]
    columns = "id, name, active, is_admin, is_service_account, password, external_user_id, activation_token"
    assert rows(path, f"SELECT {columns} FROM user") == [
        (order.system_user_id.hex, "nagaya", 0, 0, 0, None, None, None)
    ]
    flavors = {"0.94.6": 70, "0.98.0": 82}[version.installed()]
    for table, count in (("stack", 1), ("stack_component", 3), ("flavor", flavors)):
        assert rows(path, f"SELECT user_id, count(*) FROM {table} GROUP BY user_id") == [
            (order.system_user_id.hex, count)
        ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


def test_no_id_of_the_template_survives(order: StampOrder, tmp_path: Path) -> None:
    path = tmp_path / "zenml.db"
    ensure_database(order, path)
    old = identifiers(order.template)
    # One for each stack, component and flavor, and of the server.
    assert len(old) > 70
    for table, column, value in cells(path):
        assert value not in old, f"{table}.{column} still has an id of the template"


def test_two_tenants_share_no_id(order: StampOrder, tmp_path: Path) -> None:
    paths = tmp_path / "a.db", tmp_path / "b.db"
    for path in paths:
        other = dataclasses.replace(order, server_id=uuid4(), project_id=uuid4(), system_user_id=uuid4())
        ensure_database(other, path)
    assert not identifiers(paths[0]) & identifiers(paths[1])


def test_existing_database_is_left_alone(order: StampOrder, tmp_path: Path) -> None:
    path = tmp_path / "zenml.db"
    ensure_database(order, path)
    before = path.read_bytes()
    assert ensure_database(dataclasses.replace(order, server_id=uuid4()), path) is False
    assert path.read_bytes() == before


@pytest.mark.parametrize("step", STEPS)
def test_kill_at_any_step(order: StampOrder, tmp_path: Path, step: str) -> None:
    path = tmp_path / "zenml.db"
    pid = os.fork()
    if pid == 0:
        ensure_database(order, path, lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == step else None)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    complete = step in {"renamed", "done"}
    assert path.exists() is complete
    assert ensure_database(order, path) is not complete
    assert rows(path, "SELECT id FROM server_settings") == [(order.server_id.hex,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["zenml.db"]


def test_two_at_once_make_one(order: StampOrder, tmp_path: Path) -> None:
    path = tmp_path / "zenml.db"
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            os._exit(10 if ensure_database(order, path) else 11)
        children.append(pid)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)
    assert codes == [10, 11, 11, 11]


def test_lost_database_is_not_replaced_silently(order: StampOrder, tmp_path: Path) -> None:
    (tmp_path / "zenml.db-wal").write_bytes(b"committed pages")
    with pytest.raises(StampError, match=r"zenml\.db is missing, but zenml\.db-wal is present"):
        ensure_database(order, tmp_path / "zenml.db")


def test_missing_template_is_named_and_leaves_nothing(order: StampOrder, tmp_path: Path) -> None:
    with pytest.raises(StampError, match="no-template"):
        ensure_database(dataclasses.replace(order, template=tmp_path / "no-template"), tmp_path / "zenml.db")
    assert list(tmp_path.iterdir()) == []


def test_damaged_template_leaves_nothing(order: StampOrder, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copyfile(order.template, damaged)
    with closing(sqlite3.connect(damaged)) as database:
        database.execute("DROP TABLE flavor")
    with pytest.raises(StampError, match="no such table: flavor"):
        ensure_database(dataclasses.replace(order, template=damaged), tmp_path / "zenml.db")
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith("zenml.db")]


def test_broken_reference_is_refused(order: StampOrder, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copyfile(order.template, damaged)
    with closing(sqlite3.connect(damaged, isolation_level=None)) as database:
        database.execute("UPDATE stack_composition SET stack_id=?", (uuid4().hex,))
    with pytest.raises(StampError, match="references of stack_composition are broken"):
        ensure_database(dataclasses.replace(order, template=damaged), tmp_path / "zenml.db")


@pytest.mark.parametrize(
    "change", [{"server_id": "7"}, {"project": None}, {"system_user": {"id": str(uuid4())}}, {"template": 5}]
)
def test_unusable_order(change: dict[str, object]) -> None:
    document = {
        "template": "/t",
        "server_id": str(uuid4()),
        "server_name": "s",
        "project": {"id": str(uuid4()), "name": "default"},
        "system_user": {"id": str(uuid4()), "name": "nagaya"},
    }
    assert StampOrder.from_json(document).server_name == "s"
    with pytest.raises(StampError, match="not usable"):
        StampOrder.from_json(document | change)


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(statement).fetchall()


def cells(path: Path) -> list[tuple[str, str, object]]:
    """Every value of every column of every table."""
    found = []
    with closing(sqlite3.connect(path)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            cursor = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            found += [(table, name, value) for row in cursor for name, value in zip(names, row, strict=True)]
    return found


def identifiers(path: Path) -> set[object]:
    """Every value that is a UUID as SQLAlchemy stores it."""
    found: set[object] = set()
    for _, _, value in cells(path):
        if isinstance(value, str) and len(value) == 32:
            try:
                UUID(value)
            except ValueError:
                continue
            found.add(value)
    return found
