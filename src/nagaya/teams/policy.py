"""Named dependencies that resolve a team and authorize, before an endpoint runs."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from nagaya.access.policy import OrganizationAccess, ServiceAccountId, UserId, one_of, reach_organization
from nagaya.errors import NotFound
from nagaya.http.state import State
from nagaya.http.transactions import Db
from nagaya.identity.policy import CurrentPrincipal
from nagaya.teams import repository
from nagaya.teams.models import Team


@dataclass(frozen=True, slots=True)
class TeamAccess:
    """A team that the caller was found to be allowed to act on.

    Args:
        team: The team.
        organization: Its organization, with what the caller holds there.
    """

    team: Team
    organization: OrganizationAccess


@dataclass(frozen=True, slots=True)
class TeamSeat:
    """A place in a team that the caller was found to be allowed to fill or to clear.

    Args:
        access: The team.
        principal_id: Whose place: a user's, a service account's, or an open invitation's.
        own: Whether it is the caller's own.
    """

    access: TeamAccess
    principal_id: uuid.UUID
    own: bool


def reach_team(team_id: uuid.UUID, principal: CurrentPrincipal, db: Db, state: State) -> TeamAccess:
    """Returns a team of an organization that the caller may know of.

    Raises:
        NotFound: There is none of this id, or it is none of the caller's business.
    """
    team = db.get(Team, team_id)
    try:
        if team is not None:
            return TeamAccess(team, reach_organization(db, principal, str(team.organization_id), state.now()))
    except NotFound:
        pass
    raise NotFound(f"There is no team with the id {team_id}, or you are not a member of its organization.")


Reached = Annotated[TeamAccess, Depends(reach_team)]


def _dependency(permission: str) -> Callable[..., TeamAccess]:
    def resolve(access: Reached) -> TeamAccess:
        access.organization.standing.require(permission)
        return access

    return resolve


def _reader(access: Reached, principal: CurrentPrincipal, db: Db) -> TeamAccess:
    if repository.membership(db, access.team.id, principal.id) is None:
        access.organization.standing.require("team:read")
    return access


def _filler(
    access: Reached,
    user_id: UserId = None,
    service_account_id: ServiceAccountId = None,
    invitation_id: uuid.UUID | None = None,
) -> TeamSeat:
    access.organization.standing.require("team:update")
    who = one_of(user_id=user_id, service_account_id=service_account_id, invitation_id=invitation_id)
    return TeamSeat(access, who, own=False)


def _leaver(
    access: Reached,
    principal: CurrentPrincipal,
    user_id: UserId = None,
    service_account_id: ServiceAccountId = None,
    invitation_id: uuid.UUID | None = None,
) -> TeamSeat:
    own = principal.id in (user_id, service_account_id)
    if not own:
        access.organization.standing.require("team:update")
    who = one_of(user_id=user_id, service_account_id=service_account_id, invitation_id=invitation_id)
    return TeamSeat(access, who, own)


TeamReader = Annotated[TeamAccess, Depends(_reader)]
"""Whoever may see teams in the organization, and the team's own members."""
TeamEditor = Annotated[TeamAccess, Depends(_dependency("team:update"))]
TeamRemover = Annotated[TeamAccess, Depends(_dependency("team:delete"))]
TeamFiller = Annotated[TeamSeat, Depends(_filler)]
TeamLeaver = Annotated[TeamSeat, Depends(_leaver)]
"""Whoever may change the team, and everybody for oneself."""
