"""Rules of membership: who may give which role to whom, and what ends with it."""

import datetime as dt
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select

from nagaya import audit
from nagaya.access import changes, repository
from nagaya.access.models import RoleAssignment
from nagaya.access.repository import Account
from nagaya.access.roles import ORGANIZATION_ADMIN, assignable_role
from nagaya.access.standing import Standing
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.http.transactions import UnitOfWork
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant
from nagaya_policy import PREDEFINED_ROLES


@dataclass(frozen=True, slots=True)
class Place:
    """Where roles are given: an organization, or a tenant of it.

    Args:
        work: Unit of work of the request.
        standing: The caller's own roles there.
        organization: The organization.
        tenant: The tenant, if it is one.
        now: Current time.
    """

    work: UnitOfWork
    standing: Standing
    organization: Organization
    tenant: Tenant | None
    now: dt.datetime

    @property
    def level(self) -> str:
        """`organization` or `tenant`."""
        return "organization" if self.tenant is None else "tenant"

    @property
    def name(self) -> str:
        """How sentences call the place."""
        return self.organization.name if self.tenant is None else f"{self.organization.name}/{self.tenant.name}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One role that somebody is to hold; `project_id` for project roles only."""

    role: str
    project_id: uuid.UUID | None = None


def find_account(place: Place, text: str) -> Account:
    """Returns whom a request means.

    Raises:
        NotFound: There is nobody of that id, username or address.
        Conflict: The account is deactivated.
    """
    found = repository.find_account(place.work.session, place.organization.id, text)
    if found is None:
        raise NotFound(f"There is no user with the id, username or e-mail address {text!r}.")
    if not found.is_active:
        raise Conflict(f"{found.username} is deactivated: activate the account first.")
    return found


def member(place: Place, principal_id: uuid.UUID) -> Account:
    """Returns a member of the place.

    Raises:
        NotFound: Nobody of this id is a member there.
    """
    found = repository.account(place.work.session, principal_id)
    tenant_id = None if place.tenant is None else place.tenant.id
    rows = repository.held(
        place.work.session, place.organization.id, principal_id, level=place.level, tenant_id=tenant_id
    )
    if found is None or not rows:
        raise NotFound(f"No member of {place.name} has the id {principal_id}.")
    return found


def require_organization_member(place: Place, who: Account) -> None:
    """Raises InvalidInput unless somebody belongs to the organization, without which nothing in it can be held."""
    rows = repository.assignments(place.work.session, place.organization.id, [who.id], place.now)
    if not rows:
        sentence = f"{who.username} is not a member of {place.organization.name}: add the member there first."
        raise InvalidInput(sentence, fields={"user": sentence})


def wanted_roles(roles: Collection[str]) -> list[Wanted]:
    """Returns the organization roles that a request names.

    Raises:
        InvalidInput: One is named twice.
    """
    if len(set(roles)) != len(roles):
        raise InvalidInput("A role is named twice.", fields={"roles": "must not name a role twice"})
    return [Wanted(role) for role in roles]


def add(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None) -> None:
    """Makes a member with the given roles.

    Raises:
        Conflict: The account is a member there already.
        Forbidden: A role permits more than the caller's own.
        InvalidInput: A role does not fit, or `expires` has passed.
    """
    tenant_id = None if place.tenant is None else place.tenant.id
    rows = repository.assignments(place.work.session, place.organization.id, [who.id], place.now, tenant_id=tenant_id)
    if any(row.tenant_id == tenant_id for row in rows.get(who.id, ())):
        raise Conflict(f"{who.username} is a member of {place.name} already: change the roles instead.")
    _apply(place, who, wanted, expires, "member.create")


def change(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None) -> None:
    """Replaces all roles that a member holds at the place.

    Raises:
        Forbidden: A role that is given or taken permits more than the caller's own.
        InvalidInput: A role does not fit, or `expires` has passed.
        Conflict: The last administrator of the organization would be none any more.
    """
    _apply(place, who, wanted, expires, "member.update")


def _apply(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None, action: str) -> None:
    if expires is not None and (expires.tzinfo is None or expires <= place.now):
        sentence = "expires must be a time in the future with a time zone, e.g. 2030-01-31T12:00:00Z."
        raise InvalidInput(sentence, fields={"expires": sentence})
    session = place.work.session
    _lock(place)
    tenant_id = None if place.tenant is None else place.tenant.id
    current = repository.held(session, place.organization.id, who.id, level=place.level, tenant_id=tenant_id)
    target = {(each.role, each.project_id) for each in wanted}
    for each in sorted(wanted, key=lambda item: item.role):
        _check(place, each)
    kept: set[tuple[str, uuid.UUID | None]] = set()
    removed: list[RoleAssignment] = []
    for row in current:
        key = (row.role, row.project_id)
        if key in target and row.expires == expires:
            kept.add(key)
        else:
            removed.append(row)
    _require_to_change(place, [(row.role, row.project_id) for row in removed])
    _require_to_change(place, target - kept)
    if place.tenant is None and ((ORGANIZATION_ADMIN, None) not in target or expires is not None):
        # A role that ends is as good as none: nobody would be left to give it again.
        _keep_an_administrator(place, who, removed)
    for row in removed:
        session.delete(row)
    session.flush()
    for role, project_id in sorted(target - kept, key=str):
        session.add(_assignment(place, who, role, project_id, expires))
    details = {
        "given": sorted(role for role, _ in target - kept),
        "taken": sorted({row.role for row in removed} - {role for role, _ in target}),
    }
    _announce(place, who, action, details)


def remove(place: Place, who: Account) -> None:
    """Ends a membership. In an organization all roles and shares in its tenants end with it, in a tenant those there.

    Sessions of the account stay valid elsewhere. Everybody may leave; taking the roles of others needs as much as
    giving them.

    Raises:
        Forbidden: The member holds a role that permits more than the caller's own.
        Conflict: It is the last administrator of the organization.
    """
    session = place.work.session
    _lock(place)
    tenant_id = None if place.tenant is None else place.tenant.id
    rows = repository.held(session, place.organization.id, who.id, level=place.level, tenant_id=tenant_id)
    if who.id != place.standing.principal.id:
        _require_to_change(place, [(row.role, row.project_id) for row in rows])
    if place.tenant is None:
        _keep_an_administrator(place, who, rows)
        tenants = select(Tenant.id).where(Tenant.organization_id == place.organization.id)
        repository.remove_everything(session, place.organization.id, who.id, tenants)
    else:
        for row in rows:
            session.delete(row)
        repository.remove_shares(session, place.tenant.id, who.id)
    _announce(place, who, "member.delete", {"taken": sorted({row.role for row in rows})})


def _announce(place: Place, who: Account, action: str, details: dict[str, list[str]]) -> None:
    tenant_id = None if place.tenant is None else place.tenant.id
    audit.record(
        place.work,
        f"{place.level}_{action}",
        audit.Target(who.kind, who.id, who.username),
        organization_id=place.organization.id,
        tenant_id=tenant_id,
        details=details,
    )
    if place.tenant is None:
        changes.organization_changed(place.work, place.organization.id)
    else:
        changes.tenant_changed(place.work, place.tenant.id)


def _check(place: Place, wanted: Wanted) -> None:
    """Refuses roles of another level, and projects where they do not belong."""
    role = assignable_role(wanted.role, *(("organization",) if place.tenant is None else ("tenant", "project")))
    if (role.level == "project") is not (wanted.project_id is not None):
        needs = (
            "needs the id of a project"
            if role.level == "project"
            else "is a role of the whole tenant, not of a project"
        )
        raise InvalidInput(f"{role.name} {needs}.", fields={"project_id": f"{role.name} {needs}."})


def _require_to_change(place: Place, roles: Iterable[tuple[str, uuid.UUID | None]]) -> None:
    for name, project_id in roles:
        if (role := PREDEFINED_ROLES.get(name)) is not None:
            place.standing.require_assignment(role, project_id)


def _keep_an_administrator(place: Place, who: Account, removed: Iterable[RoleAssignment]) -> None:
    if not any(row.role == ORGANIZATION_ADMIN and row.expires is None for row in removed):
        return
    if repository.other_administrators(place.work.session, place.organization.id, who.id) == 0:
        raise Conflict(
            f"{who.username} is the last administrator of {place.organization.name}: make somebody else administrator "
            "first."
        )


def _lock(place: Place) -> None:
    """Lets changes of one organization's members happen one after the other, or two could remove each other."""
    place.work.session.get(Organization, place.organization.id, with_for_update=True, populate_existing=False)


def _assignment(
    place: Place, who: Account, role: str, project_id: uuid.UUID | None, expires: dt.datetime | None
) -> RoleAssignment:
    return RoleAssignment(
        organization_id=place.organization.id,
        principal_id=who.id,
        principal_kind=who.kind,
        role=role,
        level=PREDEFINED_ROLES[role].level,
        tenant_id=None if place.tenant is None else place.tenant.id,
        project_id=project_id,
        expires=expires,
        created_by=place.standing.principal.id,
    )
