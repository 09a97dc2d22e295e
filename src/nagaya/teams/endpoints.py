"""HTTP: teams and their members."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment
from nagaya.access.policy import TeamReader as OrganizationTeamReader
from nagaya.access.policy import only_organization, reach_organization
from nagaya.errors import Conflict, Forbidden, NotFound, responses
from nagaya.http.lists import Paging, Search
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work
from nagaya.identity.policy import CurrentPrincipal
from nagaya.teams import repository, service
from nagaya.teams.models import Team
from nagaya.teams.policy import TeamEditor, TeamFiller, TeamLeaver, TeamReader, TeamRemover
from nagaya.teams.schemas import TeamCreate, TeamMemberRead, TeamRead, TeamRoleRead, TeamUpdate
from nagaya_policy import PREDEFINED_ROLES

router = Routes(tags=["teams"], route_class=TransactionRoute)
Name = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="Only the one of this name.")]


@router.get("/organizations/{organization}/teams", responses=responses(Forbidden))
def list_teams(
    access: OrganizationTeamReader, db: Db, page: Paging, q: Search = None, name: Name = None
) -> list[TeamRead]:
    """Lists the teams of an organization, by name."""
    rows = page.fetch(db, repository.listing(access.id, search=q, name=name))
    return _read(db, rows, access.standing.now)


@router.post("/teams", status_code=201, responses=responses(Forbidden, Conflict))
def create_team(body: TeamCreate, principal: CurrentPrincipal, work: Work, state: State) -> TeamRead:
    """Makes a team, with its first members if asked."""
    now = state.now()
    wanted = body.organization or only_organization(work.session, principal, now)
    access = reach_organization(work.session, principal, wanted, now)
    access.standing.require("team:create")
    team = service.create(access.place(work), body)
    work.session.flush()
    return _read(work.session, [team], now)[0]


@router.get("/teams/{team_id}", responses=responses(Forbidden))
def read_team(access: TeamReader, db: Db) -> TeamRead:
    """Returns a team with the roles that it holds."""
    return _read(db, [access.team], access.organization.standing.now)[0]


@router.patch("/teams/{team_id}", responses=responses(Forbidden, Conflict))
def update_team(access: TeamEditor, body: TeamUpdate, work: Work) -> TeamRead:
    """Changes the name or the description of a team."""
    changed = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    place = access.organization.place(work)
    service.change(place, access.team, changed)
    work.session.flush()
    return _read(work.session, [access.team], place.now)[0]


@router.delete("/teams/{team_id}", status_code=204, responses=responses(Forbidden, Conflict))
def delete_team(access: TeamRemover, work: Work) -> None:
    """Deletes a team; its roles and what is shared with it end at once."""
    service.delete(access.organization.place(work), access.team)


@router.get("/teams/{team_id}/members", responses=responses(Forbidden))
def list_team_members(access: TeamReader, db: Db, page: Paging, q: Search = None) -> list[TeamMemberRead]:
    """Lists who is in a team, by username, open invitations included."""
    total, rows = repository.page(db, repository.members(access.team.id, search=q), page.offset, page.limit)
    page.announce(total)
    return [_read_member(row) for row in rows]


@router.post("/teams/{team_id}/members", status_code=201, responses=responses(Forbidden))
def add_team_member(seat: TeamFiller, work: Work) -> TeamMemberRead:
    """Puts a member of the organization, or an open invitation of it, into a team; again if need be.

    Whoever does it must be allowed to give every role that the team holds.
    """
    team = seat.access.team
    who = service.join(seat.access.organization.place(work), team, seat.principal_id)
    work.session.flush()
    row = repository.membership(work.session, team.id, who.id)
    if row is None:
        raise NotFound(f"Nobody with the id {who.id} is in the team {team.name}.")
    return _read_member((who.id, who.kind, who.username, who.email, who.name, who.is_active, row.created))


@router.delete("/teams/{team_id}/members", status_code=204, responses=responses(Forbidden, Conflict))
def remove_team_member(seat: TeamLeaver, work: Work) -> None:
    """Takes somebody out of a team; everybody may leave."""
    service.leave(seat.access.organization.place(work), seat.access.team, seat.principal_id, own=seat.own)


def _read(session: Session, teams: Sequence[Team], now: dt.datetime) -> list[TeamRead]:
    ids = [each.id for each in teams]
    counts, roles = repository.member_counts(session, ids), repository.roles(session, ids, now)
    return [
        TeamRead(
            id=team.id,
            created=team.created,
            updated=team.updated,
            organization_id=team.organization_id,
            name=team.name,
            description=team.description,
            member_count=counts.get(team.id, 0),
            roles=[_read_role(row) for row in roles.get(team.id, ())],
        )
        for team in teams
    ]


def _read_role(row: RoleAssignment) -> TeamRoleRead:
    return TeamRoleRead(
        role=row.role,
        label=PREDEFINED_ROLES[row.role].label,
        level=row.level,
        tenant_id=row.tenant_id,
        project_id=row.project_id,
        expires=row.expires,
    )


def _read_member(row: tuple[object, ...]) -> TeamMemberRead:
    key, kind, username, email, name, is_active, added = row
    values = {"id": key, "kind": kind, "username": username, "email": email, "name": name or username}
    return TeamMemberRead.model_validate(values | {"is_active": is_active, "added": added})
