"""Rules of invitations: making, renewing and withdrawing them. None carries more than its maker could give."""

import datetime as dt
import secrets
import uuid
from collections.abc import Mapping

from nagaya import audit
from nagaya.access import repository as access
from nagaya.access.handover import require_team
from nagaya.access.places import Place, new_assignment, wanted_roles
from nagaya.access.policy import reach_tenant
from nagaya.access.repository import Account
from nagaya.access.service import require_to_change
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.http.state import AppState
from nagaya.identity.models import User
from nagaya.invitations import repository
from nagaya.invitations.models import Invitation
from nagaya.invitations.schemas import InvitationCreate, InvitedTenant
from nagaya.invitations.validity import require_valid
from nagaya.teams.models import TeamMember
from nagaya.teams.service import find_team

PURPOSE = "invitation"


def get(place: Place, invitation_id: uuid.UUID) -> Invitation:
    """Returns an invitation of an organization that was neither accepted nor withdrawn.

    Raises:
        NotFound: There is none of this id, or it was withdrawn.
        Conflict: It was accepted.
    """
    found = repository.find(place.work.session, invitation_id, place.organization.id, lock=True)
    if found is None or found.revoked is not None:
        raise NotFound(f"{place.organization.name} has no invitation with the id {invitation_id}.")
    if found.accepted is not None:
        raise Conflict(f"{found.email} has accepted this invitation: change or remove the member instead.")
    return found


def create(place: Place, state: AppState, body: InvitationCreate) -> tuple[Invitation, str]:
    """Makes an invitation with everything that it carries.

    Args:
        place: The organization.
        state: The application's state.
        body: Whom to invite to what.

    Returns:
        The invitation and its link, which is stored nowhere.

    Raises:
        Conflict: The person is a member already, is deactivated, or has an open invitation.
        Forbidden: Something that it is to carry is more than the caller's own.
        NotFound: A tenant or a team does not exist.
        InvalidInput: A role does not fit.
    """
    place = place.locked()
    _require_new(place, body.email)
    me, token = place.standing.principal, secrets.token_urlsafe(32)
    invitation = Invitation(
        id=uuid.uuid4(),
        organization_id=place.organization.id,
        email=body.email,
        email_key=repository.email_key(body.email),
        token_hash=state.keys.keyed_hash(PURPOSE, token),
        expires=place.now + dt.timedelta(days=body.expires_in_days),
        created_by=me.id,
        created_by_name=me.name[:200],
        created=place.now,
    )
    place.work.session.add(invitation)
    place.work.session.flush()
    holder = repository.as_account(invitation)
    _carry_roles(place, holder, body.roles)
    for each in body.tenants:
        _carry_tenant(place, holder, each)
    teams = _carry_teams(place, holder, body.teams)
    details = {"roles": body.roles, "tenants": [each.tenant for each in body.tenants], "teams": teams}
    _record(place, "invitation.create", invitation, details)
    return invitation, link(state, token)


def _require_new(place: Place, email: str) -> None:
    session, organization = place.work.session, place.organization
    user: User | None = repository.user_with(session, email)
    if user is not None and (user.deleted is not None or not user.is_active):
        raise Conflict(f"The account of {email} is deactivated or deleted: it cannot join.")
    if user is not None and access.assignments(session, organization.id, [user.id], place.now):
        raise Conflict(f"{email} is a member of {organization.name} already: change the roles instead.")
    if repository.open_for(session, organization.id, email, place.now) is not None:
        raise Conflict(f"{email} has an open invitation to {organization.name}: make a new link of it, or withdraw it.")
    former = repository.lapsed(session, organization.id, email, place.now)
    repository.empty(session, [each.id for each in former])
    for each in former:
        each.revoked = place.now


def _carry_roles(place: Place, holder: Account, roles: list[str], project_id: uuid.UUID | None = None) -> None:
    wanted = wanted_roles(roles, at=place.level, project_id=project_id)
    require_to_change(place, wanted)
    present = access.held(place.work.session, place.organization.id, holder.id, tenant_id=place.tenant_id)
    if {(row.role, row.project_id) for row in present} & {(each.role, each.project_id) for each in wanted}:
        raise InvalidInput(f"A role in {place.name} is named twice.")
    place.work.session.add_all(new_assignment(place, holder, each, None) for each in wanted)
    place.work.session.flush()


def _carry_tenant(place: Place, holder: Account, wanted: InvitedTenant) -> None:
    name = wanted.tenant if "/" in wanted.tenant else f"{place.organization.name}/{wanted.tenant}"
    try:
        uuid.UUID(wanted.tenant)
    except ValueError:
        pass
    else:
        name = wanted.tenant
    found = reach_tenant(place.work.session, place.standing.principal, name, place.now)
    if found.organization.id != place.organization.id:
        raise NotFound(f"{place.organization.name} has no tenant {wanted.tenant!r}.")
    _carry_roles(found.place(place.work), holder, wanted.roles, wanted.project_id)


def _carry_teams(place: Place, holder: Account, names: list[str]) -> list[str]:
    session = place.work.session
    if names:
        place.standing.require("team:update")
    teams = [find_team(session, place.organization, name).team for name in names]
    if len({each.id for each in teams}) != len(teams):
        raise InvalidInput("A team is named twice.", fields={"teams": "must not name a team twice"})
    for team in teams:
        require_team(session, place.standing, team)
        session.add(
            TeamMember(
                team_id=team.id,
                principal_id=holder.id,
                principal_kind=holder.kind,
                created_by=place.standing.principal.id,
            )
        )
    return [each.name for each in teams]


def renew(place: Place, state: AppState, invitation_id: uuid.UUID, days: int) -> tuple[Invitation, str]:
    """Makes a new link of an invitation, expired or not; the old one stops working.

    Whoever does it invites from now on, and so must be allowed to give all that it carries.

    Args:
        place: The organization.
        state: The application's state.
        invitation_id: The invitation.
        days: How long the new link works.

    Raises:
        NotFound: There is no such invitation.
        Conflict: It was accepted, or there is another open one to the same address.
        Forbidden: It carries more than the caller may give.
    """
    place = place.locked()
    session, me = place.work.session, place.standing.principal
    invitation = get(place, invitation_id)
    other = repository.open_for(session, place.organization.id, invitation.email, place.now)
    if other is not None and other.id != invitation.id:
        raise Conflict(f"{invitation.email} has a newer invitation that is open: use that one.")
    invitation.created_by, invitation.created_by_name = me.id, me.name[:200]
    repository.take_over(session, invitation.id, me.id)
    require_valid(session, invitation, place.now)
    token = secrets.token_urlsafe(32)
    invitation.token_hash = state.keys.keyed_hash(PURPOSE, token)
    invitation.expires = place.now + dt.timedelta(days=days)
    _record(place, "invitation.renew", invitation, {})
    return invitation, link(state, token)


def revoke(place: Place, invitation_id: uuid.UUID) -> None:
    """Withdraws an invitation; its link stops working.

    Raises:
        NotFound: There is no such invitation.
        Conflict: It was accepted.
    """
    place = place.locked()
    invitation = get(place, invitation_id)
    invitation.revoked = place.now
    repository.empty(place.work.session, [invitation.id])
    _record(place, "invitation.delete", invitation, {})


def link(state: AppState, token: str) -> str:
    """Returns the address to send to the invited person."""
    return f"{state.settings.public_url}/invitation?token={token}"


def _record(place: Place, action: str, invitation: Invitation, details: Mapping[str, object]) -> None:
    audit.record(
        place.work,
        action,
        audit.Target("invitation", invitation.id, invitation.email),
        organization_id=place.organization.id,
        details=dict(details),
    )
