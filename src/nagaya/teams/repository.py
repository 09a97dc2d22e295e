"""All SQL of teams."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import cast

from sqlalchemy import Select, String, delete, func, literal, null, select, union_all
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import AccessibleOrganizationId, in_force
from nagaya.db.search import contains
from nagaya.identity.models import ServiceAccount, User
from nagaya.invitations.models import Invitation
from nagaya.teams.models import Team, TeamMember

MemberRow = tuple[uuid.UUID, str, str, str | None, str, bool, dt.datetime]
MemberSelect = Select[uuid.UUID, str, str, str | None, str, bool, dt.datetime]


def name_key(name: str) -> str:
    """Returns the form in which names of teams are compared."""
    return name.casefold()


def listing(
    organization_id: AccessibleOrganizationId, *, search: str | None = None, name: str | None = None
) -> Select[Team]:
    """Returns the SELECT of an organization's teams, by name.

    Args:
        organization_id: The organization.
        search: Only those with this in name or description.
        name: Only the one of this name.
    """
    statement = select(Team).where(Team.organization_id == organization_id).order_by(Team.name_key, Team.id)
    if search is not None:
        statement = statement.where(contains(search, Team.name, Team.description))
    return statement if name is None else statement.where(Team.name_key == name_key(name))


def find(session: Session, organization_id: uuid.UUID, id_or_name: str) -> Team | None:
    """Returns the team of an organization that an id or a name means."""
    try:
        condition = Team.id == uuid.UUID(id_or_name)
    except ValueError:
        return find_by_name(session, organization_id, id_or_name)
    return session.scalar(select(Team).where(Team.organization_id == organization_id, condition))


def find_by_name(session: Session, organization_id: uuid.UUID, name: str) -> Team | None:
    """Returns the team of an organization that has a name, in any case."""
    return session.scalar(select(Team).where(Team.organization_id == organization_id, Team.name_key == name_key(name)))


def membership(session: Session, team_id: uuid.UUID, principal_id: uuid.UUID) -> TeamMember | None:
    """Returns the place of somebody in a team."""
    condition = (TeamMember.team_id == team_id, TeamMember.principal_id == principal_id)
    return session.scalar(select(TeamMember).where(*condition))


def members(team_id: uuid.UUID, *, search: str | None = None) -> MemberSelect:
    """Returns the SELECT of everybody in a team: people, service accounts and open invitations, by username."""
    users = select(
        User.id,
        literal("user").label("kind"),
        User.username,
        User.email,
        User.name,
        User.is_active,
    ).where(User.deleted.is_(None))
    machines = select(
        ServiceAccount.id,
        literal("service_account").label("kind"),
        ServiceAccount.username,
        sql_cast(null(), String).label("email"),
        ServiceAccount.username.label("name"),
        ServiceAccount.is_active,
    ).where(ServiceAccount.deleted.is_(None))
    invited = select(
        Invitation.id,
        literal("invitation").label("kind"),
        Invitation.email.label("username"),
        Invitation.email,
        Invitation.email.label("name"),
        literal(True).label("is_active"),
    )
    anybody = union_all(users, machines, invited).subquery("anybody")
    statement = (
        select(anybody, TeamMember.created)
        .join(TeamMember, TeamMember.principal_id == anybody.c.id)
        .where(TeamMember.team_id == team_id)
        .order_by(anybody.c.username, anybody.c.id)
    )
    if search is not None:
        statement = statement.where(contains(search, anybody.c.username, anybody.c.email, anybody.c.name))
    return cast("MemberSelect", statement)


def page(session: Session, statement: MemberSelect, offset: int, limit: int) -> tuple[int, list[MemberRow]]:
    """Runs the SELECT above for one page.

    Returns:
        The number of all rows, and the rows of the page.
    """
    total = session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0
    return total, [cast("MemberRow", tuple(row)) for row in session.execute(statement.offset(offset).limit(limit))]


def member_counts(session: Session, team_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Returns how many users and service accounts that are not deleted are in each team."""
    living = union_all(
        select(User.id).where(User.deleted.is_(None)),
        select(ServiceAccount.id).where(ServiceAccount.deleted.is_(None)),
    ).subquery("living")
    rows = session.execute(
        select(TeamMember.team_id, func.count())
        .join(living, living.c.id == TeamMember.principal_id)
        .where(TeamMember.team_id.in_(team_ids))
        .group_by(TeamMember.team_id)
    )
    return {team_id: count for team_id, count in rows}  # noqa: C416 - dict() does not take rows for pairs.


def roles(session: Session, team_ids: Collection[uuid.UUID], now: dt.datetime) -> dict[uuid.UUID, list[RoleAssignment]]:
    """Returns the unexpired roles of teams, in the order in which they were given."""
    rows = session.scalars(
        select(RoleAssignment)
        .where(RoleAssignment.principal_id.in_(team_ids), in_force(now))
        .order_by(RoleAssignment.created, RoleAssignment.id)
    )
    found: dict[uuid.UUID, list[RoleAssignment]] = defaultdict(list)
    for row in rows:
        found[row.principal_id].append(row)
    return found


def remove(session: Session, team: Team) -> None:
    """Deletes a team with its members, its roles and what is shared with it."""
    session.execute(delete(RoleAssignment).where(RoleAssignment.principal_id == team.id))
    session.execute(delete(Share).where(Share.principal_id == team.id))
    session.execute(delete(TeamMember).where(TeamMember.team_id == team.id))
    session.delete(team)
