"""HTTP: members of a tenant, with tenant and project roles."""

import uuid
from collections.abc import Callable
from typing import Any

from nagaya.access import repository
from nagaya.access.members import read_members
from nagaya.access.policy import TenantMemberEditor, TenantMemberReader, TenantMemberRemover
from nagaya.access.repository import account_page
from nagaya.access.service import Wanted, add, change, find_account, member, remove, require_organization_member
from nagaya.errors import InvalidInput
from nagaya.http.lists import Paging
from nagaya.http.transactions import Db, Work
from nagaya.organizations.schemas import MemberRead
from nagaya.tenants.schemas import HeldRole, TenantMemberCreate, TenantMemberUpdate


def list_tenant_members(access: TenantMemberReader, db: Db, page: Paging) -> list[MemberRead]:
    """Lists who holds a role in the tenant, by username; those to whom only something is shared are not listed."""
    statement = repository.tenant_members(access.organization_id, access.id, access.standing.now)
    total, accounts = account_page(db, statement, page.offset, page.limit)
    page.announce(total)
    return read_members(db, accounts, access.organization_id, access.standing.now, tenant_id=access.id)


def add_tenant_member(access: TenantMemberEditor, body: TenantMemberCreate, work: Work) -> MemberRead:
    """Gives somebody who belongs to the organization roles in the tenant."""
    place = access.place(work)
    who = find_account(place, body.user)
    require_organization_member(place, who)
    add(place, who, [Wanted(role, body.project_id) for role in body.roles], body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.organization_id, place.now, tenant_id=access.id)[0]


def update_tenant_member(
    access: TenantMemberEditor, principal_id: uuid.UUID, body: TenantMemberUpdate, work: Work
) -> MemberRead:
    """Replaces the roles that a member holds in the tenant."""
    place = access.place(work)
    who = member(place, principal_id)
    roles = [Wanted(each.role, each.project_id) if isinstance(each, HeldRole) else Wanted(each) for each in body.roles]
    if len(set(roles)) != len(roles):
        raise InvalidInput("A role is named twice.", fields={"roles": "must not name a role twice"})
    change(place, who, roles, body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.organization_id, place.now, tenant_id=access.id)[0]


def remove_tenant_member(access: TenantMemberRemover, principal_id: uuid.UUID, work: Work) -> None:
    """Ends all roles of a member in the tenant and whatever is shared with the member there; everybody may leave."""
    place = access.place(work)
    remove(place, member(place, principal_id))


def add_routes(add_route: Callable[..., Any]) -> None:
    """Adds the routes of this module.

    Args:
        add_route: Takes method, path and function, and optionally a status.
    """
    add_route("GET", "/{tenant}/members", list_tenant_members)
    add_route("POST", "/{tenant}/members", add_tenant_member, status=201)
    add_route("PATCH", "/{tenant}/members/{principal_id}", update_tenant_member)
    add_route("DELETE", "/{tenant}/members/{principal_id}", remove_tenant_member, status=204)
