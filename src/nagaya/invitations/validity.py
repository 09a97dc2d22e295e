"""Whether those who put something into an invitation may still give it: asked when it is accepted and renewed."""

import datetime as dt
import uuid

from sqlalchemy.orm import Session

from nagaya.access import repository as access
from nagaya.access.handover import require_team
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import Forbidden
from nagaya.invitations import repository
from nagaya.invitations.models import Invitation
from nagaya_policy import PREDEFINED_ROLES


def require_valid(session: Session, invitation: Invitation, now: dt.datetime) -> None:
    """Demands that whoever gave each role and each place in a team could give it today.

    Args:
        session: Database session.
        invitation: The invitation.
        now: Current time.

    Raises:
        Forbidden: Somebody who gave a part of it may do so no more.
    """
    organization_id = invitation.organization_id
    require_inviter(session, invitation, now)
    for row in repository.carried_roles(session, [invitation.id]):
        standing = _standing(session, row.created_by, organization_id, row.tenant_id, now)
        standing.require_assignment(PREDEFINED_ROLES[row.role], row.project_id)
    for seat, team in repository.carried_seats(session, [invitation.id]):
        standing = _standing(session, seat.created_by, organization_id, None, now)
        standing.require("team:update")
        require_team(session, standing, team)


def require_inviter(session: Session, invitation: Invitation, now: dt.datetime) -> None:
    """Raises Forbidden unless whoever invites may still invite people."""
    _standing(session, invitation.created_by, invitation.organization_id, None, now).require("invitation:create")


def _standing(
    session: Session,
    giver_id: uuid.UUID | None,
    organization_id: uuid.UUID,
    tenant_id: uuid.UUID | None,
    now: dt.datetime,
) -> Standing:
    account = None if giver_id is None else access.account(session, giver_id)
    giver = None if account is None or not account.is_active else access.principal(session, account.id)
    if giver is None:
        raise Forbidden("Whoever made this invitation has no active account any more.")
    return standing_of(session, giver, organization_id, tenant_id, now)
