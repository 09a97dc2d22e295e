"""Tables that processes of the platform coordinate by: a sequence of signals, and leases."""

import datetime as dt

from sqlalchemy import BigInteger, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, utc_now


class Signal(Base):
    """Something changed; whoever cares reads the rows after the last one it saw."""

    __tablename__ = "signals"

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    topic: Mapped[str] = mapped_column(String(32))
    """`tenant` (its specification or policy changed) or `operation`."""
    payload: Mapped[str] = mapped_column(Text)
    created: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)
