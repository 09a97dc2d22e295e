"""The schema that migrations make is the one that the models describe, and a newer one is refused."""

import uuid
import warnings
from pathlib import Path

import pytest
from sqlalchemy import MetaData, func, inspect, select, text
from sqlalchemy.orm import Session

from nagaya.audit.models import AuditEvent
from nagaya.db.base import utc_now
from nagaya.db.engine import Database
from nagaya.db.errors import SchemaError
from nagaya.db.migrate import differences, upgrade
from nagaya.db.tables import metadata
from nagaya.tenants.models import Tenant
from nagaya.usage.models import UsageRecord
from nagaya.usage.repository import counts
from tests import databases
from tests.api.world import Settled, World


def test_migrations_and_models_agree(world: World) -> None:
    with warnings.catch_warnings():
        # Alembic cannot compare indexes on expressions on SQLite; their names are compared below.
        warnings.filterwarnings("ignore", message="autogenerate skipping metadata-specified expression-based index")
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        assert differences(world.state.database) == []


def test_every_index_of_the_models_exists(world: World) -> None:
    with world.state.database.engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        if world.state.database.is_sqlite:
            rows = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'index'"))
            made = {row[0] for row in rows}
        else:
            inspector = inspect(connection)
            made = {index["name"] for table in metadata.tables for index in inspector.get_indexes(table)}
    wanted = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    assert wanted <= made


def test_upgrading_twice_changes_nothing_and_a_newer_schema_is_refused(world: World) -> None:
    database = world.state.database
    upgrade(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        session.commit()
    with pytest.raises(SchemaError, match="newer version of Nagaya"):
        upgrade(database)


def test_teams_and_invitations_keep_all_rows_and_tell_kinds_apart(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    upgrade(database, "0001")
    ids = {name: uuid.uuid4().hex for name in ("organization", "tenant", "user", "machine")}
    now = "2026-01-01 00:00:00.000000"
    rows: dict[str, dict[str, object]] = {
        "organizations": {"id": ids["organization"], "name": "acme", "display_name": "A", "description": ""},
        "tenants": {
            "id": ids["tenant"],
            "organization_id": ids["organization"],
            **dict.fromkeys(("name", "display_name", "version", "desired_state", "status", "activity"), "x"),
            **dict.fromkeys(("description", "documentation", "status_reason"), ""),
            **dict.fromkeys(("jwt_secret", "secrets_store_key", "channel_token", "client_secret"), "x"),
            **dict.fromkeys(("protected", "hibernate", "idle_seconds", "generation", "applied_generation"), 1),
            **dict.fromkeys(("policy_version", "event_sequence"), 1),
            **dict.fromkeys(("project_id", "system_user_id"), uuid.uuid4().hex),
            "labels": "{}",
        },
        "service_accounts": {
            "id": ids["machine"],
            "organization_id": ids["organization"],
            "username": "robot",
            "description": "",
            "is_active": 1,
            "valid_after": 0,
        },
    }
    with database.write() as session:
        for table, row in rows.items():
            _insert(session, table, row | {"created": now, "updated": now})
        for owner in ("user", "machine"):
            values: dict[str, object] = {"id": uuid.uuid4().hex, "tenant_id": ids["tenant"], "principal_id": ids[owner]}
            more: dict[str, object] = {"resource": "stack/x", "actions": '["read"]', "created_by": ids["user"]}
            _insert(session, "shares", values | more | {"created": now, "updated": now})
        session.commit()
    upgrade(database)
    with database.read() as session:
        found = session.execute(text("SELECT principal_id, principal_kind, actions FROM shares")).all()
    assert {tuple(row) for row in found} == {
        (ids["user"], "user", '["read"]'),
        (ids["machine"], "service_account", '["read"]'),
    }
    database.close()


def test_usage_moves_from_the_audit_record_into_a_table_of_its_own(tmp_path: Path, settled: Settled) -> None:
    """From a database of the version before, with rows that refer to the table that gets new columns."""
    world = settled.world
    tenant, organization = uuid.UUID(settled.tenant["id"]), uuid.UUID(settled.organization["id"])
    place = tmp_path / "old"
    old = Database(databases.database_url(place) or f"sqlite:///{tmp_path / 'old.db'}")
    upgrade(old, "0002")
    with world.state.database.engine.connect() as source, old.engine.connect() as target, target.begin():
        kept = MetaData()
        kept.reflect(target)
        for table in kept.sorted_tables:
            if table.name != "alembic_version":
                rows = source.execute(select(table)).mappings().all()
                if rows:
                    # The audit record is numbered by the database, or PostgreSQL would give these numbers again.
                    given = [{name: row[name] for name in row if name != "sequence"} for row in rows]
                    target.execute(table.insert(), given)
        events = kept.tables["audit_events"]
        before = target.scalar(select(func.count()).select_from(events))
        reports = [("pipeline", "a", 1), ("pipeline", "a", 1), ("pipeline", "b", 1), ("model", "m", 1)]
        now = utc_now().replace(tzinfo=None)
        reports += [("pipeline", "b", -1), ("pipeline", "b", 1), ("model", "", 1), ("model", "x", 7)]
        for feature, resource, total in reports:
            values = {
                "time": now,
                # SQLite has no type for these, so what is reflected there is text.
                "tenant_id": tenant.hex if old.is_sqlite else tenant,
                "organization_id": organization.hex if old.is_sqlite else organization,
            }
            values |= {"actor_kind": "server", "actor_name": "staging", "action": "usage.report", "outcome": "success"}
            values |= {"target_kind": feature, "target_id": resource, "target_name": "", "reason": "", "address": ""}
            target.execute(events.insert(), values | {"details": {"total": total}})
    upgrade(old)
    with old.read() as session:
        assert counts(session, [tenant]) == {tenant: {"model": 1, "pipeline": 1}}
        records = {(row.feature, row.resource_id, row.removed is None) for row in session.scalars(select(UsageRecord))}
        assert records == {("pipeline", "a", True), ("pipeline", "b", False), ("model", "m", True)}
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == before
        row = session.get_one(Tenant, tenant)
        assert (row.enrolled, row.poll_failures, row.server_url) == (False, 0, None)
    old.close()
    databases.forget(place)


def _insert(session: Session, table: str, values: dict[str, object]) -> None:
    names = ", ".join(values)
    session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{each}' for each in values)})"), values)
