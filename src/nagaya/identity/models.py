"""Tables of identity: users, service accounts, sessions, devices, API keys, set-up links."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class User(Record, Base):
    """A person. Usernames are never given away again, because tenants remember them."""

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_email_lower", text("lower(email)"), unique=True),)

    username: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200), default="")
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_superuser: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    valid_after: Mapped[int] = mapped_column(default=0)
    """Unix time in seconds; tokens issued before it are refused everywhere."""
    last_login: Mapped[dt.datetime | None]
    deleted: Mapped[dt.datetime | None]


class ServiceAccount(Record, Base):
    """A machine that acts in one organization."""

    __tablename__ = "service_accounts"

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    """Unique over the whole platform, like a user's, for the same reason."""
    description: Mapped[str] = mapped_column(Text, default="")
    is_active: Mapped[bool] = mapped_column(default=True)
    valid_after: Mapped[int] = mapped_column(default=0)
    deleted: Mapped[dt.datetime | None]


class Session(Record, Base):
    """A sign-in of a browser, a device, or an API key's exchange; the `sid` of every token that came out of it."""

    __tablename__ = "sessions"
    __table_args__ = (
        # Few sessions are revoked before their time; every compilation of policies asks for those.
        Index(
            "ix_sessions_revoked_expires",
            "expires",
            sqlite_where=text("revoked IS NOT NULL"),
            postgresql_where=text("revoked IS NOT NULL"),
        ),
    )

    principal_id: Mapped[uuid.UUID] = mapped_column(index=True)
    principal_kind: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    """`browser`, `password`, `device` or `api_key`."""
    device_id: Mapped[uuid.UUID | None]
    api_key_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    user_agent: Mapped[str] = mapped_column(String(400), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    expires: Mapped[dt.datetime]
    revoked: Mapped[dt.datetime | None]
    last_seen: Mapped[dt.datetime | None]


class Device(Record, Base):
    """One device authorization of RFC 8628. Codes are stored as keyed hashes only."""

    __tablename__ = "devices"

    client_id: Mapped[uuid.UUID] = mapped_column(index=True)
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    tenant_id: Mapped[uuid.UUID | None]
    """The tenant that was chosen on the approval page."""
    device_code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    """`pending`, `approved`, `denied`, `used` or `expired`."""
    expires: Mapped[dt.datetime]
    interval: Mapped[int]
    """Least time between two polls, seconds; grows by 5 with each `slow_down`."""
    last_poll: Mapped[dt.datetime | None]
    failed_attempts: Mapped[int] = mapped_column(default=0)
    hostname: Mapped[str] = mapped_column(String(200), default="")
    system: Mapped[str] = mapped_column(String(64), default="")
    python_version: Mapped[str] = mapped_column(String(32), default="")
    zenml_version: Mapped[str] = mapped_column(String(32), default="")
    address: Mapped[str] = mapped_column(String(64), default="")


class ApiKey(Record, Base):
    """A `ZENPROKEY_` of a user (personal token) or of a service account, stored as a keyed hash."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (service_account_id IS NULL)", name="one_owner"),
        Index("ix_api_keys_owner_name", "user_id", "service_account_id", "name"),
    )

    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    service_account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("service_accounts.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(String(16))
    """The last four characters, to recognise a key by."""
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    is_active: Mapped[bool] = mapped_column(default=True)
    expires: Mapped[dt.datetime | None]
    revoked: Mapped[dt.datetime | None]
    last_used: Mapped[dt.datetime | None]


class SetupLink(Record, Base):
    """A single-use link that lets its bearer become the first administrator, or set a password."""

    __tablename__ = "setup_links"

    purpose: Mapped[str] = mapped_column(String(16))
    """`setup` or `password`."""
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires: Mapped[dt.datetime]
    used: Mapped[dt.datetime | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
