"""HTTP: roles, permissions, and who may do what, with the reasons."""

import uuid
from typing import Annotated, Literal

from fastapi import Depends, Path, Query

from nagaya.access import assignments
from nagaya.access.explaining import Subject, effective, explain
from nagaya.access.policy import RoleReader, reach_organization, reach_tenant_in
from nagaya.access.roles import TENANT_VISITOR, find_role, role_id
from nagaya.access.schemas import EffectiveRead, ExplanationRead, PermissionRead, RoleRead
from nagaya.errors import Conflict, Forbidden, InvalidInput, NotFound, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute
from nagaya.identity.policy import CurrentPrincipal
from nagaya.tenants.platform import Platform
from nagaya_policy import (
    LEVELS,
    ORGANIZATION_PERMISSIONS,
    PREDEFINED_ROLES,
    Role,
    describe_permission,
    permissions_of_level,
)

router = Routes(tags=["access"], route_class=TransactionRoute)
router.include(assignments.router)
Level = Literal["organization", "tenant", "project"]
LevelOrOlder = Literal["organization", "tenant", "workspace", "project"]
Name = Annotated[str | None, Query(max_length=64)]


def subject(
    db: Db,
    principal: CurrentPrincipal,
    state: State,
    platform: Platform,
    organization: Annotated[Name, Query(description="Id or name; may be left out beside `tenant`.")] = None,
    tenant: Annotated[Name, Query(description="Id, name or organization/name.")] = None,
    who: Annotated[uuid.UUID | None, Query(alias="principal", description="The caller, if left out.")] = None,
) -> Subject:
    """Resolves of whom and of which place a question is; about others it takes the right to see members.

    Raises:
        InvalidInput: Neither an organization nor a tenant is named.
        NotFound: One of them is out of the caller's reach.
        Forbidden: The question is about somebody else, and the caller may not see members.
    """
    now = state.now()
    asked = who or principal.id
    if tenant is not None:
        access = reach_tenant_in(db, principal, organization, tenant, now)
        access.standing.require_tenant("tenant:read" if asked == principal.id else "member:read")
        return Subject(db, platform.issuer, asked, access.organization, access.tenant, now)
    if organization is None:
        raise InvalidInput("Say where: organization or tenant is missing.")
    place = reach_organization(db, principal, organization, now)
    place.standing.require("organization:read" if asked == principal.id else "member:read")
    return Subject(db, platform.issuer, asked, place.organization, None, now)


@router.get("/permissions")
def list_permissions(_principal: CurrentPrincipal, level: Level | None = None) -> list[PermissionRead]:
    """Lists the permissions that roles of each level can hold."""
    return [
        PermissionRead(permission=permission, level=each, description=_describe(permission, each))
        for each in ([level] if level else LEVELS)
        for permission in permissions_of_level(each)
    ]


@router.get("/organizations/{organization}/roles", responses=responses(Forbidden))
def list_roles(
    _access: RoleReader,
    page: Paging,
    level: Annotated[LevelOrOlder | None, Query(description="`workspace` means `tenant`.")] = None,
    name: Annotated[Name, Query(description="Name, or an alias: `Admin`, `Editor`, `Viewer`.")] = None,
) -> list[RoleRead]:
    """Lists the roles of the organization, the strongest of each level first."""
    wanted = "tenant" if level == "workspace" else level
    found = [
        role
        for role in PREDEFINED_ROLES.values()
        if (wanted is None or role.level == wanted) and (name is None or find_role(name, role.level) is role)
    ]
    page.announce(len(found))
    return [_read(role) for role in found[page.offset : page.offset + page.limit]]


@router.get("/roles/{role}")
def read_role(
    role: Annotated[str, Path(max_length=64, description="Id, name, or the older name of a tenant's role.")],
    _principal: CurrentPrincipal,
) -> RoleRead:
    """Returns a role with its permissions."""
    found = find_role(role)
    if found is None:
        raise NotFound(f"There is no role {role!r}.")
    return _read(found)


@router.get("/access/effective", responses=responses(Forbidden, Conflict))
def read_effective_permissions(
    asked: Annotated[Subject, Depends(subject)], project: uuid.UUID | None = None
) -> EffectiveRead:
    """Returns everything that somebody may do in an organization or tenant, each with the reason."""
    return effective(asked, project)


@router.get("/access/explain", responses=responses(Forbidden, Conflict))
def explain_decision(
    asked: Annotated[Subject, Depends(subject)],
    action: Annotated[str, Query(max_length=64, description="E.g. `update`.")],
    resource: Annotated[str, Query(max_length=200, description="A resource of the tenant, or a noun: `tenant`.")],
    owner: Annotated[uuid.UUID | None, Query(description="Who made the resource, if it matters.")] = None,
) -> ExplanationRead:
    """Tells whether somebody may do something, and what every rule made of the question."""
    return explain(asked, action, resource, owner)


def _read(role: Role) -> RoleRead:
    return RoleRead(
        id=role_id(role.name),
        name=role.name,
        label=role.label,
        level=role.level,
        description=role.description,
        permissions=sorted(role.permissions),
        type="predefined" if role.predefined else "custom",
        system_managed=role.predefined,
        assignable=role.name != TENANT_VISITOR,
    )


def _describe(permission: str, level: str) -> str:
    if level == "organization":
        return ORGANIZATION_PERMISSIONS[permission]
    return describe_permission(permission)
