"""Tables of usage: which resource was counted, how many there are of each feature, and how many there may be."""

import datetime as dt
import uuid

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record, utc_now

FEATURE_LENGTH = 64
RESOURCE_LENGTH = 64


class UsageRecord(Record, Base):
    """One resource that a tenant reported. It counts once, however often it is reported, until it is deleted."""

    __tablename__ = "usage_records"
    __table_args__ = (UniqueConstraint("tenant_id", "feature", "resource_id"),)

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    feature: Mapped[str] = mapped_column(String(FEATURE_LENGTH))
    resource_id: Mapped[str] = mapped_column(String(RESOURCE_LENGTH))
    removed: Mapped[dt.datetime | None]
    """When it was reported as deleted; it never counts again, whatever arrives late."""


class UsageCount(Base):
    """How many resources of a feature a tenant has: kept beside the records, because every list of tenants shows it."""

    __tablename__ = "usage_counts"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    feature: Mapped[str] = mapped_column(String(FEATURE_LENGTH), primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    used: Mapped[int] = mapped_column(Integer, default=0)


class UsageLimit(Base):
    """How many resources of a feature a whole organization, or one tenant, may have."""

    __tablename__ = "usage_limits"

    place_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """Id of the organization or of the tenant."""
    feature: Mapped[str] = mapped_column(String(FEATURE_LENGTH), primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    maximum: Mapped[int] = mapped_column(Integer)
    updated: Mapped[dt.datetime] = mapped_column(default=utc_now, onupdate=utc_now)


def storable(text: str, length: int) -> str:
    """Returns a text as every database stores it: bounded, without NUL and lone surrogates."""
    return text[:length].replace("\x00", "").encode("utf-8", "replace").decode()
