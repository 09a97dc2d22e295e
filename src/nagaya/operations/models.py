"""Table of operations: long actions, their phases and how they ended."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class Operation(Record, Base):
    """One long action on one tenant."""

    __tablename__ = "operations"
    __table_args__ = (UniqueConstraint("principal_id", "idempotency_key"),)

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    principal_id: Mapped[uuid.UUID | None]
    kind: Mapped[str] = mapped_column(String(32))
    """`create`, `enroll`, `deploy`, `deactivate`, `delete`, `restore`, `purge`, …"""
    status: Mapped[str] = mapped_column(String(16), index=True)
    """`pending`, `running`, `succeeded`, `failed` or `cancelled`."""
    phases: Mapped[list[Any]] = mapped_column(JSON, default=list)
    """`[{"name", "status", "started", "finished", "message"}]`, in order."""
    error: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(default=0)
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    finished: Mapped[dt.datetime | None]
