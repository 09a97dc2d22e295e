"""Indexes for large installations, e-mail addresses that differ in more than case, and no role held twice."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_index("ix_users_email_lower", "users", [sa.text("lower(email)")], unique=True)
    op.create_index("ix_tenants_listing", "tenants", ["organization_id", "name", "id", "desired_state", "purged"])
    _partial("ix_sessions_revoked_expires", "sessions", ["expires"], "revoked IS NOT NULL")
    _drop_repeated_roles()
    # A unique constraint takes two NULLs for different values, so that it kept only roles in projects apart.
    place = ["principal_id", "role", "organization_id"]
    _partial("uq_role_assignments_in_organization", "role_assignments", place, "tenant_id IS NULL", unique=True)
    place = ["principal_id", "role", "tenant_id"]
    where = "tenant_id IS NOT NULL AND project_id IS NULL"
    _partial("uq_role_assignments_in_tenant", "role_assignments", place, where, unique=True)


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _drop_repeated_roles() -> None:
    """Of equal roles keeps the one that lasts longest."""
    time = sa.DateTime(timezone=True)
    ids = ("id", "principal_id", "organization_id", "tenant_id", "project_id")
    columns = [sa.column(name, sa.Uuid()) for name in ids]
    roles = sa.table("role_assignments", *columns, sa.column("role", sa.String()), sa.column("expires", time))
    same = (*(roles.c[name] for name in ids[1:]), roles.c.role)
    order = (sa.case((roles.c.expires.is_(None), 0), else_=1), roles.c.expires.desc(), roles.c.id)
    place = sa.func.row_number().over(partition_by=same, order_by=order)
    ranked = sa.select(roles.c.id, place.label("place")).subquery()
    op.execute(roles.delete().where(roles.c.id.in_(sa.select(ranked.c.id).where(ranked.c.place > 1))))
