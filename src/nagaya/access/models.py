"""Tables of access: who holds which role where, and who shares which single resource with whom."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


def _unique_where(name: str, place: str, condition: str) -> Index:
    where = text(condition)
    return Index(
        f"uq_role_assignments_{name}",
        "principal_id",
        "role",
        place,
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


class RoleAssignment(Record, Base):
    """One role of one principal at one place; any organization-level row makes a member of the organization."""

    __tablename__ = "role_assignments"
    __table_args__ = (
        UniqueConstraint("principal_id", "role", "organization_id", "tenant_id", "project_id"),
        # The constraint takes two NULLs for different values: these two keep the other roles apart.
        _unique_where("in_organization", "organization_id", "tenant_id IS NULL"),
        _unique_where("in_tenant", "tenant_id", "tenant_id IS NOT NULL AND project_id IS NULL"),
        Index("ix_role_assignments_organization_principal", "organization_id", "principal_id"),
    )

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    principal_id: Mapped[uuid.UUID] = mapped_column(index=True)
    principal_kind: Mapped[str] = mapped_column(String(16))
    """`user`, `service_account`, `team`, or `invitation` as long as that one is open."""
    role: Mapped[str] = mapped_column(String(64))
    level: Mapped[str] = mapped_column(String(16))
    """`organization`, `tenant` or `project`."""
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    project_id: Mapped[uuid.UUID | None]
    expires: Mapped[dt.datetime | None]
    created_by: Mapped[uuid.UUID | None]
    """Who gave it, and so whose rights an invitation's acceptance is measured by."""


class Share(Record, Base):
    """Actions on one resource of a tenant, given to one principal or team."""

    __tablename__ = "shares"
    __table_args__ = (UniqueConstraint("tenant_id", "principal_id", "resource"),)

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    principal_id: Mapped[uuid.UUID] = mapped_column(index=True)
    principal_kind: Mapped[str] = mapped_column(String(16))
    """`user`, `service_account` or `team`."""
    resource: Mapped[str] = mapped_column(String(200))
    """As ZenML writes it: `[<project id>:]<type>/<id>`."""
    actions: Mapped[list[Any]] = mapped_column(JSON)
    created_by: Mapped[uuid.UUID]
