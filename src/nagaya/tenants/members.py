"""HTTP: members of a tenant, people, machines and teams, with tenant and project roles."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Query

from nagaya.access import repository
from nagaya.access.members import read_members
from nagaya.access.places import Place, Wanted, checked, wanted_roles
from nagaya.access.policy import TenantMemberEditor, TenantMemberLeaver, TenantMemberReader, TenantMemberRemover
from nagaya.access.repository import Account, account_page
from nagaya.access.service import add, change, find_account, member, remove, require_organization_member
from nagaya.http.lists import Paging, Search
from nagaya.http.transactions import Db, Work
from nagaya.organizations.schemas import MemberRead
from nagaya.teams.service import find_team
from nagaya.tenants.schemas import HeldRole, TenantMemberCreate, TenantMemberUpdate

Kind = Annotated[
    Literal["user", "service_account", "team"] | None,
    Query(description="Only these. Teams are listed as such only if they are asked for, otherwise their members are."),
]


def list_tenant_members(
    access: TenantMemberReader, db: Db, page: Paging, q: Search = None, kind: Kind = None
) -> list[MemberRead]:
    """Lists who holds a role in the tenant, by username; those to whom only something is shared are not listed."""
    now = access.standing.now
    if kind == "team":
        statement = repository.tenant_teams(access.organization_id, access.id, now, search=q)
    else:
        statement = repository.tenant_members(access.organization_id, access.id, now, search=q, kind=kind)
    total, accounts = account_page(db, statement, page.offset, page.limit)
    page.announce(total)
    return read_members(db, accounts, access.organization_id, now, tenant_id=access.id)


def add_tenant_member(access: TenantMemberEditor, body: TenantMemberCreate, work: Work) -> MemberRead:
    """Gives somebody who belongs to the organization, or a team of it, roles in the tenant."""
    place = access.place(work)
    who = _holder(place, body)
    require_organization_member(place, who)
    add(place, who, wanted_roles(body.roles, at="tenant", project_id=body.project_id), body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.organization_id, place.now, tenant_id=access.id)[0]


def _holder(place: Place, body: TenantMemberCreate) -> Account:
    if body.team is not None:
        return find_team(place.work.session, place.organization, body.team).account
    return find_account(place, body.user or "")


def update_tenant_member(
    access: TenantMemberEditor, principal_id: uuid.UUID, body: TenantMemberUpdate, work: Work
) -> MemberRead:
    """Replaces the own roles that a member, or a team, holds in the tenant."""
    place = access.place(work)
    who = member(place, principal_id)
    change(place, who, _roles(body), body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.organization_id, place.now, tenant_id=access.id)[0]


def _roles(body: TenantMemberUpdate) -> list[Wanted]:
    found: list[Wanted] = []
    for each in body.roles:
        name, project_id = (each.role, each.project_id) if isinstance(each, HeldRole) else (each, None)
        found += wanted_roles([name], at="tenant", project_id=project_id)
    return checked(found)


def remove_tenant_member(access: TenantMemberRemover, principal_id: uuid.UUID, work: Work) -> None:
    """Ends all own roles of a member in the tenant and what is shared with the member there; everybody may leave."""
    place = access.place(work)
    remove(place, member(place, principal_id))


def remove_tenant_member_by_query(access: TenantMemberLeaver, work: Work) -> None:
    """Ends the roles of `user_id`, `service_account_id` or `team_id`, like `DELETE …/members/{principal_id}`."""
    place = access.access.place(work)
    remove(place, member(place, access.principal_id))


def add_routes(add_route: Callable[..., Any]) -> None:
    """Adds the routes of this module.

    Args:
        add_route: Takes method, path and function, and optionally a status.
    """
    add_route("GET", "/{tenant}/members", list_tenant_members)
    add_route("POST", "/{tenant}/members", add_tenant_member, status=201)
    add_route("DELETE", "/{tenant}/members", remove_tenant_member_by_query, status=204)
    add_route("PATCH", "/{tenant}/members/{principal_id}", update_tenant_member)
    add_route("DELETE", "/{tenant}/members/{principal_id}", remove_tenant_member, status=204)
