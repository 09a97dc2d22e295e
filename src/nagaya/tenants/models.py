"""Table of tenants: what is wanted, what is, and the sealed secrets of each."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class Tenant(Record, Base):
    """One isolated ZenML server of an organization."""

    __tablename__ = "tenants"
    __table_args__ = (
        UniqueConstraint("organization_id", "name"),
        # Holds what lists are filtered and ordered by, so that whole rows are read only for the page that is shown.
        Index("ix_tenants_listing", "organization_id", "name", "id", "desired_state", "purged"),
    )

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(30), index=True)
    """The slug: immutable, unique within the organization, and never given away again while restorable."""
    display_name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    documentation: Mapped[str] = mapped_column(Text, default="")
    """Markdown."""
    stage: Mapped[str | None] = mapped_column(String(30), index=True)
    labels: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    version: Mapped[str] = mapped_column(String(32))
    """ZenML version: the engine that hosts the tenant. Empty for an enrolled one, which says its own."""
    protected: Mapped[bool] = mapped_column(default=True)
    hibernate: Mapped[bool] = mapped_column(default=True)
    idle_seconds: Mapped[int] = mapped_column(default=900)

    desired_state: Mapped[str] = mapped_column(String(20), index=True)
    """`available`, `deactivated` or `deleted`."""
    status: Mapped[str] = mapped_column(String(20), index=True)
    """`not_initialized`, `pending`, `available`, `failed`, `deactivated` or `deleted`: the contract's words."""
    status_reason: Mapped[str] = mapped_column(Text, default="")
    activity: Mapped[str] = mapped_column(String(20), default="asleep")
    """`awake`, `asleep`, `waking`, …: the keeper's last word, for showing."""
    status_changed: Mapped[dt.datetime | None]
    last_activity: Mapped[dt.datetime | None]
    deleted: Mapped[dt.datetime | None]
    purge_after: Mapped[dt.datetime | None]
    purged: Mapped[dt.datetime | None]

    generation: Mapped[int] = mapped_column(default=1)
    """Raised by every change of the specification that the keeper must learn of."""
    applied_generation: Mapped[int] = mapped_column(default=0)
    policy_version: Mapped[int] = mapped_column(BigInteger, default=1)
    """Raised by every change that may alter who may do what in this tenant."""
    event_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    """The last event of the tenant's outbox that was taken in."""
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[dt.datetime | None]

    project_id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    """Id of the project `default` that the tenant is born with."""
    system_user_id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    """Id, inside the tenant, of the reserved user that owns the platform's rows."""
    jwt_secret: Mapped[str] = mapped_column(Text)
    secrets_store_key: Mapped[str] = mapped_column(Text)
    channel_token: Mapped[str] = mapped_column(Text)
    client_secret: Mapped[str] = mapped_column(Text)
    created_by: Mapped[uuid.UUID | None]

    enrolled: Mapped[bool] = mapped_column(default=False, server_default=false(), index=True)
    """Whether its server runs elsewhere: nothing below the control plane knows of it, and it has no sealed secrets."""
    server_url: Mapped[str | None] = mapped_column(String(300), unique=True, index=True)
    """Address of an enrolled server, as it reported it; clients are sent there."""
    reported_version: Mapped[str | None] = mapped_column(String(32))
    """ZenML version of an enrolled server, as it reported it; for showing."""
    last_seen: Mapped[dt.datetime | None]
    """When an enrolled server last signed in, reported, or answered."""
    liveness: Mapped[str | None] = mapped_column(String(16))
    """Of an enrolled server: `unknown`, `up` or `down`."""
    poll_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    next_poll: Mapped[dt.datetime | None] = mapped_column(index=True)
    """When an enrolled server is looked at next."""


class EnrollmentKey(Record, Base):
    """A key with which a ZenML server that runs elsewhere proves to be a tenant's. The key itself is not stored."""

    __tablename__ = "enrollment_keys"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires: Mapped[dt.datetime | None]
    """When a replaced key ends; the key in force has no end."""
    last_used: Mapped[dt.datetime | None]
    created_by: Mapped[uuid.UUID | None]
