"""Table of organizations."""

import datetime as dt

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class Organization(Record, Base):
    """Owns tenants, members and service accounts; the unit of policy and audit."""

    __tablename__ = "organizations"

    name: Mapped[str] = mapped_column(String(30), unique=True)
    """The slug: immutable, and never given away again."""
    display_name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    deleted: Mapped[dt.datetime | None]
