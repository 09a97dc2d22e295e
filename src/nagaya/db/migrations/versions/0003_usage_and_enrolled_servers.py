"""Usage that is counted, limits, and servers that run elsewhere."""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 1000


def upgrade() -> None:
    """Applies the change."""
    _add_columns()
    _add_tables()
    _move_usage()


def _add_columns() -> None:
    # With defaults in the database, because SQLite could otherwise only copy the table, to which others refer.
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("enrolled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("server_url", sa.String(length=300), nullable=True),
        sa.Column("reported_version", sa.String(length=32), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("liveness", sa.String(length=16), nullable=True),
        sa.Column("poll_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_poll", sa.DateTime(timezone=True), nullable=True),
    )
    for column in columns:
        op.add_column("tenants", column)
    op.create_index(op.f("ix_tenants_enrolled"), "tenants", ["enrolled"])
    op.create_index(op.f("ix_tenants_server_url"), "tenants", ["server_url"], unique=True)
    op.create_index(op.f("ix_tenants_next_poll"), "tenants", ["next_poll"])


def _add_tables() -> None:
    op.create_table(
        "enrollment_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_enrollment_keys_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_enrollment_keys_key_hash")),
    )
    op.create_index(op.f("ix_enrollment_keys_tenant_id"), "enrollment_keys", ["tenant_id"])
    op.create_table(
        "usage_records",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("removed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_usage_records_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint(
            "tenant_id", "feature", "resource_id", name=op.f("uq_usage_records_tenant_id_feature_resource_id")
        ),
    )
    op.create_table(
        "usage_counts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_usage_counts_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_usage_counts_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "feature", name=op.f("pk_usage_counts")),
    )
    op.create_index(op.f("ix_usage_counts_organization_id"), "usage_counts", ["organization_id"])
    op.create_table(
        "usage_limits",
        sa.Column("place_id", sa.Uuid(), nullable=False),
        sa.Column("feature", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("maximum", sa.Integer(), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_usage_limits_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("place_id", "feature", name=op.f("pk_usage_limits")),
    )
    op.create_index(op.f("ix_usage_limits_organization_id"), "usage_limits", ["organization_id"])


def _move_usage() -> None:
    """Counts what the audit record has kept of usage until now, and takes it out of there."""
    events = sa.table(
        "audit_events",
        sa.column("sequence", sa.BigInteger()),
        sa.column("time", sa.DateTime(timezone=True)),
        sa.column("action", sa.String()),
        sa.column("tenant_id", sa.Uuid()),
        sa.column("target_kind", sa.String()),
        sa.column("target_id", sa.String()),
        sa.column("details", sa.JSON()),
    )
    mine = events.c.action == "usage.report"
    known: dict[tuple[uuid.UUID, str, str], dict[str, Any]] = {}
    for row in op.get_bind().execute(sa.select(events).where(mine).order_by(events.c.sequence)):
        total = row.details.get("total") if isinstance(row.details, dict) else None
        if total not in {1, -1} or row.tenant_id is None or not row.target_kind or not row.target_id:
            continue
        record = known.setdefault(
            (row.tenant_id, row.target_kind, row.target_id),
            {"id": uuid.uuid4(), "created": row.time, "updated": row.time, "removed": None},
        )
        if total == -1:
            record["removed"] = record["removed"] or row.time
    _store(known)
    op.execute(events.delete().where(mine))


def _store(known: dict[tuple[uuid.UUID, str, str], dict[str, Any]]) -> None:
    bind = op.get_bind()
    tenants = sa.table("tenants", sa.column("id", sa.Uuid()), sa.column("organization_id", sa.Uuid()))
    homes: dict[uuid.UUID, uuid.UUID] = {row.id: row.organization_id for row in bind.execute(sa.select(tenants))}
    counts: dict[tuple[uuid.UUID, str], int] = {}
    rows = []
    for (tenant_id, feature, resource_id), record in known.items():
        if tenant_id not in homes:
            continue
        rows.append({"tenant_id": tenant_id, "feature": feature, "resource_id": resource_id, **record})
        counts[tenant_id, feature] = counts.get((tenant_id, feature), 0) + int(record["removed"] is None)
    time = sa.DateTime(timezone=True)
    columns: dict[str, Any] = {
        "id": sa.Uuid(),
        "created": time,
        "updated": time,
        "removed": time,
        "tenant_id": sa.Uuid(),
    }
    columns |= {"feature": sa.String(), "resource_id": sa.String()}
    table = sa.table("usage_records", *(sa.column(name, kind) for name, kind in columns.items()))
    for start in range(0, len(rows), BATCH):
        op.bulk_insert(table, rows[start : start + BATCH])
    kinds: dict[str, Any] = {
        "tenant_id": sa.Uuid(),
        "feature": sa.String(),
        "organization_id": sa.Uuid(),
        "used": sa.Integer(),
    }
    table = sa.table("usage_counts", *(sa.column(name, kind) for name, kind in kinds.items()))
    totals = [
        {"tenant_id": tenant_id, "feature": feature, "organization_id": homes[tenant_id], "used": used}
        for (tenant_id, feature), used in counts.items()
    ]
    for start in range(0, len(totals), BATCH):
        op.bulk_insert(table, totals[start : start + BATCH])
