"""Turns an invitation into a membership: what it carries becomes the person's own."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select

from nagaya import audit
from nagaya.access import changes
from nagaya.access import repository as access
from nagaya.access.models import RoleAssignment
from nagaya.errors import Conflict, Forbidden, Gone
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import User
from nagaya.invitations import repository
from nagaya.invitations.models import Invitation
from nagaya.invitations.validity import require_valid
from nagaya.organizations.models import Organization
from nagaya.teams import repository as teams
from nagaya.tenants.models import Tenant

NOT_VALID = "This invitation is not valid any more, or never was: ask whoever invited you for a new link."


@dataclass(frozen=True, slots=True)
class Joined:
    """Who has joined what."""

    user: User
    organization: Organization


def accept(work: UnitOfWork, invitation: Invitation, user: User, now: dt.datetime) -> Joined:
    """Makes the invited person a member, with everything that the invitation carries; it is used up by that.

    Args:
        work: The unit of work; of two that accept at once one fails.
        invitation: The invitation.
        user: The person, whose address was found to be the invitation's.
        now: Current time.

    Raises:
        Gone: It was accepted, withdrawn or has expired, or the organization does not exist any more.
        Forbidden: The address is another one.
        Conflict: Whoever gave a part of it may not give that any more.
    """
    session = work.session
    organization = session.get(Organization, invitation.organization_id, with_for_update=True)
    current = repository.find(session, invitation.id, lock=True)
    if current is None or organization is None or organization.deleted is not None or not usable(current, now):
        raise Gone(NOT_VALID)
    if repository.email_key(user.email) != current.email_key:
        raise Forbidden(f"This invitation is for {current.email}, and you are signed in as {user.email}.")
    try:
        require_valid(session, current, now)
    except Forbidden as error:
        raise Conflict(
            f"This invitation promises more than {current.created_by_name} can still give: ask for a new one."
        ) from error
    details = _hand_over(work, current, organization, user, now)
    current.accepted, current.accepted_by = now, user.id
    audit.record(
        work,
        "invitation.accept",
        audit.Target("invitation", current.id, current.email),
        organization_id=organization.id,
        details={"user": user.username, **details},
    )
    session.flush()
    changes.organization_changed(work, organization.id)
    return Joined(user, organization)


def usable(invitation: Invitation, now: dt.datetime) -> bool:
    """Whether an invitation can be accepted."""
    return invitation.accepted is None and invitation.revoked is None and invitation.expires > now


def _hand_over(
    work: UnitOfWork, invitation: Invitation, organization: Organization, user: User, now: dt.datetime
) -> dict[str, list[str]]:
    """Makes what an invitation carries the person's own and returns what that is, for the audit record."""
    session = work.session
    rows = [
        row for row in repository.carried_roles(session, [invitation.id]) if row.expires is None or row.expires > now
    ]
    if not any(row.level == "organization" for row in rows):
        raise Gone(NOT_VALID)
    if not access.assignments(session, organization.id, [user.id], now):
        # What an earlier membership left behind when it expired must not come back.
        tenants = select(Tenant.id).where(Tenant.organization_id == organization.id)
        access.remove_everything(session, organization.id, user.id, tenants)
    for row in rows:
        _become(work, row, user)
    seats = repository.carried_seats(session, [invitation.id])
    for seat, team in seats:
        if teams.membership(session, team.id, user.id) is None:
            seat.principal_id, seat.principal_kind = user.id, "user"
    session.flush()
    repository.empty(session, [invitation.id])
    return {"roles": sorted({row.role for row in rows}), "teams": [team.name for _, team in seats]}


def _become(work: UnitOfWork, row: RoleAssignment, user: User) -> None:
    """Gives a carried role to the person, unless the person holds it already and for at least as long."""
    present = access.held(work.session, row.organization_id, user.id, tenant_id=row.tenant_id)
    same = next((each for each in present if (each.role, each.project_id) == (row.role, row.project_id)), None)
    if same is None:
        row.principal_id, row.principal_kind = user.id, "user"
    elif same.expires is not None and (row.expires is None or row.expires > same.expires):
        same.expires, same.created_by = row.expires, row.created_by
