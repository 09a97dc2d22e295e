"""HTTP: who holds a role, giving it and taking it: `/roles/{role}/assignments`."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Query
from sqlalchemy.orm import Session

from nagaya.access import repository
from nagaya.access.assigning import assign, unassign
from nagaya.access.models import RoleAssignment
from nagaya.access.places import Wanted, checked
from nagaya.access.policy import (
    OrganizationAccess,
    ServiceAccountId,
    TeamId,
    TenantAccess,
    UserId,
    one_of,
    only_organization,
    reach_organization,
    reach_tenant_in,
)
from nagaya.access.repository import Account
from nagaya.access.roles import assignable_role, find_role
from nagaya.access.schemas import AssignmentRead
from nagaya.access.service import find_account
from nagaya.errors import Conflict, Forbidden, NotFound, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, UnitOfWork, Work
from nagaya.identity.models import ServiceAccount
from nagaya.identity.policy import CurrentPrincipal
from nagaya.identity.principal import Principal
from nagaya.invitations import repository as invitations
from nagaya.invitations.models import Invitation
from nagaya.teams.models import Team

router = Routes(prefix="/roles/{role}/assignments", tags=["access"], route_class=TransactionRoute)
Name = Annotated[str | None, Query(max_length=64)]


@dataclass(frozen=True, slots=True)
class HolderQuery:
    """Who holds, or is to hold, a role: one of four."""

    user_id: uuid.UUID | None
    service_account_id: uuid.UUID | None
    team_id: uuid.UUID | None
    invitation_id: uuid.UUID | None

    @property
    def id(self) -> uuid.UUID | None:
        """The id that was given, of whatever kind it is."""
        return self.user_id or self.service_account_id or self.team_id or self.invitation_id

    def required(self) -> uuid.UUID:
        """Returns the one id.

        Raises:
            InvalidInput: None or several were given.
        """
        return one_of(
            user_id=self.user_id,
            service_account_id=self.service_account_id,
            team_id=self.team_id,
            invitation_id=self.invitation_id,
        )

    def organization_id(self, session: Session) -> uuid.UUID | None:
        """Returns the organization that whoever is meant belongs to; None for users, who may belong to several."""
        found: Team | Invitation | ServiceAccount | None = None
        if self.team_id is not None:
            found = session.get(Team, self.team_id)
        elif self.invitation_id is not None:
            found = session.get(Invitation, self.invitation_id)
        elif self.service_account_id is not None:
            found = session.get(ServiceAccount, self.service_account_id)
        return None if found is None else found.organization_id


@dataclass(frozen=True, slots=True)
class PlaceQuery:
    """Where a role is held: in a tenant or a project of it, else in an organization."""

    organization: str | None
    tenant: str | None
    project_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A role at a place that the caller may know of; what else it takes is for the endpoint to ask."""

    access: OrganizationAccess | TenantAccess
    wanted: Wanted
    assignable: bool
    holder: HolderQuery

    @property
    def organization_id(self) -> uuid.UUID:
        """The organization of the place."""
        return self.access.organization.id

    @property
    def tenant_id(self) -> uuid.UUID | None:
        """The tenant, if the place is one."""
        return self.access.tenant.id if isinstance(self.access, TenantAccess) else None


def _holder_query(
    *,
    user_id: UserId = None,
    service_account_id: ServiceAccountId = None,
    team_id: TeamId = None,
    invitation_id: Annotated[uuid.UUID | None, Query(description="An open invitation.")] = None,
) -> HolderQuery:
    return HolderQuery(user_id, service_account_id, team_id, invitation_id)


def _place_query(
    *,
    organization: Annotated[Name, Query(description="Id or name, for roles of organizations.")] = None,
    organization_id: Annotated[Name, Query(description="Another name of `organization`.")] = None,
    tenant_id: Annotated[Name, Query(description="Id or name, for roles of tenants and projects.")] = None,
    workspace_id: Annotated[Name, Query(description="Another name of `tenant_id`.")] = None,
    project_id: Annotated[uuid.UUID | None, Query(description="For roles of projects, with `tenant_id`.")] = None,
) -> PlaceQuery:
    return PlaceQuery(organization or organization_id, tenant_id or workspace_id, project_id)


def _asked(
    principal: CurrentPrincipal,
    db: Db,
    state: State,
    *,
    role: Annotated[str, Path(max_length=64, description="Id, name or alias.")],
    place: Annotated[PlaceQuery, Depends(_place_query)],
    holder: Annotated[HolderQuery, Depends(_holder_query)],
) -> Asked:
    access = _reach(db, principal, place, holder, state.now())
    levels: tuple[str, ...] = ("organization",) if isinstance(access, OrganizationAccess) else ("tenant", "project")
    if place.project_id is not None:
        levels = tuple(reversed(levels))
    found = find_role(role, *levels)
    if found is None:
        raise NotFound(f"There is no role {role!r}.")
    return Asked(access, Wanted(found.name, place.project_id), found.level in levels, holder)


def _reach(
    db: Session, principal: Principal, place: PlaceQuery, holder: HolderQuery, now: dt.datetime
) -> OrganizationAccess | TenantAccess:
    if place.tenant is not None:
        return reach_tenant_in(db, principal, place.organization, place.tenant, now)
    wanted = place.organization or holder.organization_id(db) or only_organization(db, principal, now)
    return reach_organization(db, principal, str(wanted), now)


Question = Annotated[Asked, Depends(_asked)]


def _reader(asked: Question) -> Asked:
    if isinstance(asked.access, TenantAccess):
        asked.access.standing.require_tenant("member:read")
    else:
        asked.access.standing.require("role:read")
    return asked


def _giver(asked: Question) -> Asked:
    if isinstance(asked.access, TenantAccess):
        asked.access.standing.require_members()
    else:
        asked.access.standing.require("role:assign")
    if asked.holder.invitation_id is not None:
        asked.access.standing.require("invitation:create")
    return asked


AssignmentReader = Annotated[Asked, Depends(_reader)]
"""Whoever may see who holds roles at the place."""
AssignmentGiver = Annotated[Asked, Depends(_giver)]
"""Whoever may give roles at the place; which, is asked for each."""


@router.get("", responses=responses(Forbidden, Conflict))
def list_role_assignments(asked: AssignmentReader, db: Db, page: Paging) -> list[AssignmentRead]:
    """Lists who holds a role, in the order in which it was given: teams as such, their members are not repeated."""
    statement = repository.role_assignments(
        asked.organization_id,
        asked.wanted.role,
        asked.access.standing.now,
        tenant_id=asked.tenant_id,
        project_id=asked.wanted.project_id,
        principal_id=asked.holder.id,
    )
    return _read(db, page.fetch(db, statement))


@router.post("", status_code=201, responses=responses(Forbidden, Conflict))
def assign_role(
    asked: AssignmentGiver,
    work: Work,
    expires: Annotated[dt.datetime | None, Query(description="When it ends; never, if left out.")] = None,
) -> AssignmentRead:
    """Gives a role beside those that somebody holds, or changes when it ends. Nobody gives more than they have."""
    place = asked.access.place(work)
    assignable_role(asked.wanted.role, *(("organization",) if place.tenant is None else ("tenant", "project")))
    checked([asked.wanted])
    row = assign(place, _holder(work, asked), asked.wanted, expires)
    work.session.flush()
    return _read(work.session, [row])[0]


@router.delete("", status_code=204, responses=responses(Forbidden, Conflict))
def unassign_role(asked: AssignmentGiver, work: Work) -> None:
    """Takes a role from somebody. To end a membership of the organization, remove the member instead."""
    unassign(asked.access.place(work), _holder(work, asked, taking=True), asked.wanted)


def _holder(work: UnitOfWork, asked: Asked, *, taking: bool = False) -> Account:
    session, organization_id, holder_id = work.session, asked.organization_id, asked.holder.required()
    found: Account | None
    if asked.holder.team_id is not None:
        found = repository.team_account(session, organization_id, holder_id)
    elif asked.holder.invitation_id is not None:
        found = invitations.open_account(session, organization_id, holder_id, asked.access.standing.now)
    elif taking:
        found = repository.find_account(session, organization_id, str(holder_id))
    else:
        found = find_account(asked.access.place(work), str(holder_id))
    if found is None:
        raise NotFound(f"Nobody with the id {holder_id} can hold roles there.")
    return found


def _read(session: Session, rows: Sequence[RoleAssignment]) -> list[AssignmentRead]:
    names = repository.holder_names(session, {row.principal_id for row in rows})
    return [
        AssignmentRead(
            id=row.id,
            created=row.created,
            updated=row.updated,
            role=row.role,
            level=row.level,
            organization_id=row.organization_id,
            tenant_id=row.tenant_id,
            project_id=row.project_id,
            principal_id=row.principal_id,
            principal_kind=row.principal_kind,
            principal_name=names.get(row.principal_id, ""),
            expires=row.expires,
            created_by=row.created_by,
        )
        for row in rows
    ]
