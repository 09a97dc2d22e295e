"""All SQL of invitations."""

import datetime as dt
import uuid
from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, update
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment
from nagaya.access.reach import AccessibleOrganizationId
from nagaya.access.repository import Account
from nagaya.db.search import contains
from nagaya.identity.models import User
from nagaya.invitations.models import Invitation
from nagaya.organizations.models import Organization
from nagaya.teams.models import Team, TeamMember


def email_key(email: str) -> str:
    """Returns the form in which addresses are compared."""
    return email.lower()


def is_open(now: dt.datetime) -> ColumnElement[bool]:
    """Returns the condition that an invitation can be accepted."""
    return and_(Invitation.accepted.is_(None), Invitation.revoked.is_(None), Invitation.expires > now)


def listing(
    organization_id: AccessibleOrganizationId, now: dt.datetime, *, status: str | None, search: str | None
) -> Select[Invitation]:
    """Returns the SELECT of an organization's invitations, newest first.

    Args:
        organization_id: The organization.
        now: Current time.
        status: Only `pending`, `accepted`, `revoked` or `expired` ones.
        search: Only those with this in the address.
    """
    statement = select(Invitation).where(Invitation.organization_id == organization_id)
    waiting = and_(Invitation.accepted.is_(None), Invitation.revoked.is_(None))
    conditions = {
        "pending": is_open(now),
        "accepted": Invitation.accepted.is_not(None),
        "revoked": Invitation.revoked.is_not(None),
        "expired": and_(waiting, Invitation.expires <= now),
    }
    if status is not None:
        statement = statement.where(conditions[status])
    if search is not None:
        statement = statement.where(contains(search, Invitation.email))
    return statement.order_by(Invitation.created.desc(), Invitation.id)


def addressed_to(email: str, now: dt.datetime) -> Select[Invitation]:
    """Returns the SELECT of the open invitations to an address, newest first."""
    return (
        select(Invitation)
        .join(Organization, Organization.id == Invitation.organization_id)
        .where(Invitation.email_key == email_key(email), is_open(now), Organization.deleted.is_(None))
        .order_by(Invitation.created.desc(), Invitation.id)
    )


def find(
    session: Session, invitation_id: uuid.UUID, organization_id: uuid.UUID | None = None, *, lock: bool = False
) -> Invitation | None:
    """Returns an invitation, of one organization if that is given."""
    statement = select(Invitation).where(Invitation.id == invitation_id)
    if organization_id is not None:
        statement = statement.where(Invitation.organization_id == organization_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return session.scalar(statement)


def by_token(session: Session, token_hash: str) -> Invitation | None:
    """Returns the invitation that the newest link with this hash belongs to."""
    return session.scalar(select(Invitation).where(Invitation.token_hash == token_hash))


def open_for(session: Session, organization_id: uuid.UUID, email: str, now: dt.datetime) -> Invitation | None:
    """Returns the open invitation of an address to an organization."""
    condition = and_(Invitation.organization_id == organization_id, Invitation.email_key == email_key(email))
    return session.scalar(select(Invitation).where(condition, is_open(now)).limit(1))


def open_account(
    session: Session, organization_id: uuid.UUID, invitation_id: uuid.UUID, now: dt.datetime
) -> Account | None:
    """Returns an open invitation of an organization as one that can hold roles."""
    condition = and_(Invitation.organization_id == organization_id, Invitation.id == invitation_id)
    found = session.scalar(select(Invitation).where(condition, is_open(now)))
    return None if found is None else as_account(found)


def as_account(invitation: Invitation) -> Account:
    """Returns an invitation as one that can hold roles."""
    email = invitation.email
    return Account(invitation.id, "invitation", email, email, email, is_active=True)


def user_with(session: Session, email: str) -> User | None:
    """Returns the user, deleted ones included, who has an address."""
    return session.scalar(select(User).where(func.lower(User.email) == email_key(email)))


def carried_roles(session: Session, invitation_ids: Collection[uuid.UUID]) -> list[RoleAssignment]:
    """Returns the roles that invitations carry, in the order in which they were given."""
    statement = select(RoleAssignment).where(RoleAssignment.principal_id.in_(invitation_ids))
    return list(session.scalars(statement.order_by(RoleAssignment.created, RoleAssignment.id)))


def carried_seats(session: Session, invitation_ids: Collection[uuid.UUID]) -> list[tuple[TeamMember, Team]]:
    """Returns the places in teams that invitations carry, by the team's name."""
    rows = session.execute(
        select(TeamMember, Team)
        .join(Team, Team.id == TeamMember.team_id)
        .where(TeamMember.principal_id.in_(invitation_ids))
        .order_by(Team.name_key, Team.id)
    )
    return [(row[0], row[1]) for row in rows]


def take_over(session: Session, invitation_id: uuid.UUID, by: uuid.UUID) -> None:
    """Makes somebody answerable for all that an invitation carries."""
    roles = update(RoleAssignment).where(RoleAssignment.principal_id == invitation_id)
    seats = update(TeamMember).where(TeamMember.principal_id == invitation_id)
    for statement in (roles, seats):
        session.execute(statement.values(created_by=by).execution_options(synchronize_session="fetch"))


def empty(session: Session, invitation_ids: Collection[uuid.UUID]) -> None:
    """Deletes all that invitations carry."""
    session.execute(delete(RoleAssignment).where(RoleAssignment.principal_id.in_(invitation_ids)))
    session.execute(delete(TeamMember).where(TeamMember.principal_id.in_(invitation_ids)))


def lapsed(session: Session, organization_id: uuid.UUID, email: str, now: dt.datetime) -> list[Invitation]:
    """Returns the invitations of an address that have expired without an answer."""
    waiting = and_(Invitation.accepted.is_(None), Invitation.revoked.is_(None), Invitation.expires <= now)
    condition = and_(Invitation.organization_id == organization_id, Invitation.email_key == email_key(email))
    return list(session.scalars(select(Invitation).where(condition, waiting)))
