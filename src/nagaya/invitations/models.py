"""Table of invitations. What an invitation carries are rows of access and teams, with the invitation's id."""

import datetime as dt
import uuid

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class Invitation(Record, Base):
    """Lets the person with one e-mail address join an organization, once, by the secret of a link or signed in."""

    __tablename__ = "invitations"
    __table_args__ = (Index("ix_invitations_organization_created", "organization_id", "created"),)

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), index=True)
    """The address in lower case, in which addresses are compared."""
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """Keyed hash of the newest link's secret."""
    expires: Mapped[dt.datetime]
    created_by: Mapped[uuid.UUID]
    created_by_name: Mapped[str] = mapped_column(String(200))
    """Name of whoever invites, as the invited person is shown it."""
    accepted: Mapped[dt.datetime | None]
    accepted_by: Mapped[uuid.UUID | None]
    revoked: Mapped[dt.datetime | None]
