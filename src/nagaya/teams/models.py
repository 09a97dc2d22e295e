"""Tables of teams and of who is in them."""

import uuid

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nagaya.db.base import Base, Record


class Team(Record, Base):
    """A named group of members of one organization. Its roles and shares are rows of access, with the team's id."""

    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("organization_id", "name_key"),)

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(192))
    """The name in the form in which two names are compared: without regard to case."""
    description: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[uuid.UUID | None]


class TeamMember(Record, Base):
    """One user, service account or open invitation in a team."""

    __tablename__ = "team_members"
    __table_args__ = (UniqueConstraint("team_id", "principal_id"),)

    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    principal_id: Mapped[uuid.UUID] = mapped_column(index=True)
    principal_kind: Mapped[str] = mapped_column(String(16))
    """`user`, `service_account` or `invitation`."""
    created_by: Mapped[uuid.UUID | None]
    """Who put it there, and so whose rights an invitation's acceptance is measured by."""
